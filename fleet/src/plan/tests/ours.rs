//! What fleet's users asked for and did not get.

use super::super::*;
use super::scene::{cluster, id, name};
use crate::machine::Duty;
use crate::unit::resources::Amount;

fn sized(cpu_milli: u64, memory: u64) -> Amount {
    Amount { cpu_milli, memory }
}

#[test]
fn siblings_are_spread_over_the_values_of_a_key() {
    let mut world = cluster(&["zone=a", "zone=a", "zone=a", "zone=b"]);
    for n in 1..=4 {
        world.launch(&format!("w@{n}.service"), "Spread=zone");
    }
    world.settle();
    let in_b = world.placed.values().filter(|p| p.machine == id(4));
    assert_eq!(in_b.count(), 2);
}

#[test]
fn nobody_gets_more_than_a_machine_has() {
    let mut world = cluster(&["", ""]);
    world.machine(1).capacity = sized(1000, 1 << 30);
    world.machine(2).capacity = sized(4000, 1 << 30);
    for n in 1..=3 {
        world.launch(&format!("u{n}.service"), "Resources=cpu=1 memory=512M");
    }
    world.settle();
    let on = |n| world.on(&format!("u{n}.service"));
    let mut all = [on(1), on(2), on(3)];
    all.sort_unstable();
    assert_eq!(all, [Some(1), Some(2), Some(2)]);
    world.launch("u4.service", "Resources=memory=1M");
    world.settle();
    assert_eq!(world.on("u4.service"), Some(1));
}

#[test]
fn a_port_of_the_host_has_one_holder() {
    let mut world = cluster(&["", ""]);
    for n in 1..=3 {
        world.launch(&format!("u{n}.service"), "Resources=port=80");
    }
    world.settle();
    assert_eq!(world.placed.len(), 2);
    let why = why::why(&world, &name("u3.service")).to_string();
    assert!(why.contains("port 80 is taken by u1.service"), "{why}");
}

#[test]
fn a_higher_priority_displaces_the_fewest_of_the_lowest() {
    let mut world = cluster(&["", ""]);
    world.machine(1).capacity = sized(2000, 0);
    world.machine(2).capacity = sized(2000, 0);
    world.launch("low.service", "Resources=cpu=2\nPriority=1");
    world.launch("mid.service", "Resources=cpu=2\nPriority=2");
    world.settle();
    let place = world.on("low.service");
    world.launch("top.service", "Resources=cpu=1\nPriority=3");
    world.settle();
    assert_eq!(world.on("top.service"), place);
    assert!(world.on("mid.service").is_some());
    assert_eq!(world.waits("low.service"), Some(Waiting::Nowhere));
    world.launch("same.service", "Resources=cpu=2\nPriority=2");
    assert_eq!(world.settle(), [], "an equal never displaces");
}

#[test]
fn a_move_starts_only_when_the_old_machine_says_stopped() {
    let mut world = cluster(&["", ""]);
    world.launch("a.service", "");
    world.settle();
    world.running.insert(name("a.service"), [id(1)].into());
    world.machine(1).duty = Duty::Drains;
    let steps = world.settle();
    assert_eq!(steps.len(), 1, "only removed: {steps:?}");
    assert_eq!(world.waits("a.service"), Some(Waiting::StillOn(id(1))));
    world.running.clear();
    world.settle();
    assert_eq!(world.on("a.service"), Some(2));
}

#[test]
fn a_cordoned_machine_keeps_its_units_and_takes_no_others() {
    let mut world = cluster(&["", ""]);
    world.launch("a.service", "").launch("b.service", "");
    world.settle();
    world.machine(1).duty = Duty::Cordoned;
    world.launch("c.service", "").launch("d.service", "");
    world.settle();
    assert_eq!(world.on("a.service"), Some(1));
    assert_eq!(
        (world.on("c.service"), world.on("d.service")),
        (Some(2), Some(2))
    );
}

#[test]
fn a_strict_unit_waits_until_its_machine_must_have_killed_it() {
    let mut world = cluster(&["", ""]);
    world.patience.ttl = Duration::from_secs(10);
    world.patience.kill = Duration::from_secs(10);
    world.launch("s.service", "OnDisconnect=stop-after 30s");
    world.settle();
    world.running.insert(name("s.service"), [id(1)].into());
    world.lose(1, 54);
    assert_eq!(world.settle(), []);
    world.lose(1, 55);
    world.settle();
    assert_eq!(
        world.on("s.service"),
        Some(2),
        "(10 + 30 + 10) s and a tenth"
    );
}

#[test]
fn under_the_brake_nothing_leaves_a_lost_machine() {
    let mut world = cluster(&["", "", ""]);
    world
        .launch("a.service", "")
        .launch("b.service", "MachineOf=a.service");
    world.settle();
    world.braked = true;
    world.lose(1, 9999);
    assert_eq!(world.settle(), []);
    world.launch("new.service", "");
    world.settle();
    assert!(matches!(world.on("new.service"), Some(2 | 3)));
    world.braked = false;
    world.settle();
    assert!(matches!(world.on("a.service"), Some(2 | 3)));
    assert_eq!(world.on("a.service"), world.on("b.service"));
}

#[test]
fn a_new_machine_moves_nothing() {
    let mut world = cluster(&["", ""]);
    for n in 1..=8 {
        world.launch(&format!("u{n}.service"), "Spread=zone");
    }
    world.settle();
    let third = cluster(&["", "", "zone=b"])
        .machines
        .remove(&id(3))
        .unwrap();
    world.machines.insert(id(3), third);
    assert_eq!(world.settle(), []);
}

#[test]
fn why_says_what_would_have_to_change_on_each_machine() {
    let mut world = cluster(&["zone=a", "", ""]);
    world.machine(2).duty = Duty::Cordoned;
    world.machine(3).capacity = sized(500, 0);
    world.launch("a.service", "MachineMetadata=zone!=a\nResources=cpu=1");
    let why = why::why(&world, &name("a.service")).to_string();
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines.len(), 4, "{why}");
    assert!(
        lines[1].contains("MachineMetadata= wants zone!=a, and it has zone=a"),
        "{why}"
    );
    assert!(lines[2].contains("cordoned: uncordon it"), "{why}");
    assert!(
        lines[3].contains("1.000 processors are wanted and 0.500 are free"),
        "{why}"
    );
    world.machine(2).duty = Duty::Serves;
    assert_eq!(why::why(&world, &name("a.service")), why::Why::Soon(id(2)));
}
