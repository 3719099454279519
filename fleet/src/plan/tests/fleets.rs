//! What fleet did, as its users know it.

use super::super::*;
use super::scene::{cluster, id, name};

#[test]
fn units_spread_over_the_least_loaded_machines() {
    let mut world = cluster(&["", "", ""]);
    for n in 1..=6 {
        world.launch(&format!("u{n}.service"), "");
    }
    world.settle();
    for machine in 1..=3 {
        let here = world.placed.values().filter(|p| p.machine == id(machine));
        assert_eq!(here.count(), 2, "machine {machine}");
    }
}

#[test]
fn an_inactive_unit_is_nowhere_and_a_loaded_one_has_its_machine() {
    let mut world = cluster(&[""]);
    world.launch("a.service", "").launch("b.service", "");
    world.units.get_mut(&name("a.service")).unwrap().desired = Desired::Loaded;
    world.settle();
    assert_eq!(
        (world.on("a.service"), world.on("b.service")),
        (Some(1), Some(1))
    );
    world.units.get_mut(&name("a.service")).unwrap().desired = Desired::Inactive;
    world.units.remove(&name("b.service"));
    let steps = world.settle();
    let unwanted = |s: &Step| {
        matches!(
            s,
            Step::Remove {
                because: Removal::Unwanted,
                ..
            }
        )
    };
    assert!(steps.len() == 2 && steps.iter().all(unwanted), "{steps:?}");
}

#[test]
fn a_template_runs_nowhere_and_its_instances_do() {
    let mut world = cluster(&[""]);
    world
        .launch("w@.service", "")
        .launch("w@1.service", "Conflicts=w@*.service");
    world.launch("w@2.service", "Conflicts=%p@*.service");
    world.settle();
    assert_eq!(world.on("w@.service"), None);
    assert_eq!(world.on("w@1.service"), Some(1));
    assert_eq!(world.waits("w@2.service"), Some(Waiting::Nowhere));
}

#[test]
fn metadata_decides_and_a_change_of_it_moves_the_unit() {
    let mut world = cluster(&["disk=hdd", "disk=ssd"]);
    world.launch("db.service", "MachineMetadata=disk=ssd");
    world.settle();
    assert_eq!(world.on("db.service"), Some(2));
    world.machine(2).metadata.clear();
    world
        .machine(1)
        .metadata
        .insert("disk".into(), "ssd".into());
    world.settle();
    assert_eq!(world.on("db.service"), Some(1));
}

#[test]
fn machine_id_means_that_machine_and_no_other() {
    let mut world = cluster(&["", "", ""]);
    world.launch("a.service", &format!("MachineID={}", id(3)));
    world.settle();
    assert_eq!(world.on("a.service"), Some(3));
    world.lose(3, 60);
    world.settle();
    assert_eq!(world.on("a.service"), None);
}

#[test]
fn conflicts_hold_in_both_directions() {
    let mut world = cluster(&["", ""]);
    world.launch("a.service", "");
    world.settle();
    world
        .launch("b.service", "Conflicts=a.service")
        .launch("c.service", "Conflicts=b.*");
    world.settle();
    assert_eq!(world.on("a.service"), Some(1));
    assert_eq!(world.on("b.service"), Some(2));
    assert_eq!(world.on("c.service"), Some(1));
    world.launch("d.service", "Conflicts=c.service b.service");
    world.settle();
    assert_eq!(world.on("d.service"), None);
}

#[test]
fn a_chain_of_machine_of_sits_together_and_moves_together() {
    let mut world = cluster(&["", "", ""]);
    world
        .launch("a.service", "MachineOf=b.service")
        .launch("b.service", "MachineOf=c.service");
    world.settle();
    assert_eq!(world.on("a.service"), None, "b has no place without c");
    world.launch("c.service", "");
    world.settle();
    let place = world.on("c.service");
    assert_eq!(
        (world.on("a.service"), world.on("b.service")),
        (place, place)
    );
    world.lose(place.unwrap(), 60);
    world.settle();
    let next = world.on("c.service");
    assert!(next.is_some() && next != place);
    assert_eq!((world.on("a.service"), world.on("b.service")), (next, next));
}

#[test]
fn a_leader_goes_where_its_followers_can_come_along() {
    let mut world = cluster(&["", "", "gpu=yes"]);
    world.launch("main.service", "");
    world.launch(
        "side.service",
        "MachineOf=main.service\nMachineMetadata=gpu=yes",
    );
    world.settle();
    assert_eq!(
        (world.on("main.service"), world.on("side.service")),
        (Some(3), Some(3))
    );
}

#[test]
fn a_circle_of_machine_of_is_named_and_places_nobody() {
    let mut world = cluster(&[""]);
    world
        .launch("a.service", "MachineOf=b.service")
        .launch("b.service", "MachineOf=a.service");
    world.launch("c.service", "");
    world.settle();
    let circle = Waiting::Circle(vec![name("a.service"), name("b.service")]);
    assert_eq!(world.waits("a.service"), Some(circle));
    assert_eq!(world.on("c.service"), Some(1));
}

#[test]
fn a_replacing_unit_takes_the_place_and_the_other_moves() {
    let mut world = cluster(&["", ""]);
    world.launch("old.service", "");
    world.settle();
    let before = world.on("old.service");
    world.launch("new.service", "Replaces=old.service");
    world.settle();
    assert_eq!(world.on("new.service"), before);
    assert!(world.on("old.service").is_some());
    assert_ne!(world.on("old.service"), before);
}

#[test]
fn a_circle_of_replaces_comes_to_rest() {
    let mut world = cluster(&["", ""]);
    for (unit, other) in [("a", "b"), ("b", "c"), ("c", "a")] {
        world.launch(
            &format!("{unit}.service"),
            &format!("Replaces={other}.service"),
        );
    }
    world.settle();
    let placed = ["a", "b", "c"].map(|u| world.on(&format!("{u}.service")));
    assert_eq!(placed.iter().flatten().count(), 2, "{placed:?}");
}

#[test]
fn a_global_unit_is_on_every_machine_that_suits_and_counts_there() {
    let mut world = cluster(&["zone=a", "zone=b", "zone=a"]);
    world.launch(
        "log.service",
        "Global=true\nMachineMetadata=zone=a\nConflicts=quiet.service",
    );
    world.launch("quiet.service", "");
    world.settle();
    assert_eq!(world.on("quiet.service"), Some(2));
    let on = vec![id(1), id(3)];
    assert_eq!(
        why::why(&world, &name("log.service")),
        why::Why::Global { on }
    );
    assert!(!world.placed.contains_key(&name("log.service")));
}

#[test]
fn a_global_unit_that_comes_later_does_not_displace_whom_it_conflicts_with() {
    let mut world = cluster(&["", ""]);
    world.launch("a.service", "");
    world.settle();
    world.launch("g.service", "Global=true\nConflicts=a.service");
    assert_eq!(world.settle(), []);
    let on = vec![id(2)];
    assert_eq!(
        why::why(&world, &name("g.service")),
        why::Why::Global { on }
    );
}

#[test]
fn a_lost_machines_units_run_elsewhere_and_stay_there_when_it_returns() {
    let mut world = cluster(&["", ""]);
    world.launch("a.service", "").launch("b.service", "");
    world.settle();
    world.lose(1, 5);
    let steps = world.settle();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!(
        (world.on("a.service"), world.on("b.service")),
        (Some(2), Some(2))
    );
    world.machine(1).presence = Presence::Live;
    assert_eq!(world.settle(), []);
}
