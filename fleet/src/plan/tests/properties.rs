//! What holds for any cluster.

use super::super::*;
use super::scene::{cluster, id, name};
use crate::machine::Duty;
use crate::unit::requirement;
use proptest::prelude::*;

/// Sections that exercise each option against few names.
const SECTIONS: [&str; 12] = [
    "",
    "MachineMetadata=zone=a",
    "MachineMetadata=zone!=a",
    "Conflicts=u1.service",
    "Conflicts=u*.service",
    "Replaces=u2.service",
    "Replaces=u3.service",
    "MachineOf=u4.service",
    "MachineOf=u5.service",
    "Spread=zone",
    "Resources=cpu=1\nPriority=3",
    "Resources=cpu=1 port=80\nPriority=1",
];

prop_compose! {
    fn worlds()(
        zones in prop::collection::vec(prop::sample::select(vec!["zone=a", "zone=b", ""]), 1..5),
        units in prop::collection::vec(0..SECTIONS.len(), 1..9),
        capacity in 0u64..3,
    ) -> World {
        let mut world = cluster(&zones);
        for machine in world.machines.values_mut() {
            machine.capacity.cpu_milli = capacity * 1000;
        }
        for (number, section) in (1..).zip(units) {
            world.launch(&format!("u{number}.service"), SECTIONS[section]);
        }
        world
    }
}

/// Every rule, checked without the planner's own code where it can be.
fn lawful(world: &World) -> Result<(), TestCaseError> {
    for (name, placement) in &world.placed {
        let unit = &world.units[name];
        let machine = &world.machines[&placement.machine];
        prop_assert!(requirement::unmet(&unit.options.metadata, &machine.metadata).is_none());
        for peer in &unit.options.beside {
            prop_assert_eq!(
                world.placed.get(peer).map(|p| &p.machine),
                Some(&machine.id)
            );
        }
        for (other, place) in &world.placed {
            let together = place.machine == machine.id && other != name;
            prop_assert!(
                !(together && unit.options.conflicts_with(other)),
                "{} and {}",
                name,
                other
            );
            prop_assert!(
                !(together && unit.options.replaces(other)),
                "{} and {}",
                name,
                other
            );
        }
    }
    for machine in world.machines.values() {
        let here = || world.placed.iter().filter(|(_, p)| p.machine == machine.id);
        let demands = || here().map(|(name, _)| &world.units[name].options.demand);
        let used: u64 = demands().map(|d| d.amount.cpu_milli).sum();
        let has = machine.capacity.cpu_milli;
        prop_assert!(has == 0 || used <= has, "{} of {}", used, has);
        prop_assert!(demands().filter(|d| !d.ports.is_empty()).count() <= 1);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_settled_cluster_breaks_no_rule_and_stays_settled(mut world in worlds()) {
        world.settle();
        lawful(&world)?;
        let again = plan(&world);
        prop_assert_eq!(&again.steps, &vec![]);
        for unit in world.units.keys().filter(|u| world.wants_one(u)) {
            prop_assert!(world.placed.contains_key(unit) != again.waiting.contains_key(unit));
        }
    }

    #[test]
    fn the_same_world_gives_the_same_plan(world in worlds()) {
        prop_assert_eq!(plan(&world), plan(&world.clone()));
    }

    #[test]
    fn a_lost_machine_costs_only_what_was_on_it(mut world in worlds()) {
        world.settle();
        world.lose(1, 60);
        let before = world.placed.clone();
        for step in plan(&world).steps {
            if let Step::Remove { unit, because, .. } = step {
                let own = before[&unit].machine == id(1);
                let pushed = matches!(because, Removal::Replaced(_) | Removal::Preempted(_));
                prop_assert!(own || pushed, "{}: {:?}", unit, because);
            }
        }
        world.settle();
        prop_assert!(world.placed.values().all(|p| p.machine != id(1)));
        lawful(&world)?;
    }

    #[test]
    fn whoever_waits_is_told_why_by_every_machine(mut world in worlds()) {
        world.settle();
        for unit in world.units.keys() {
            if let why::Why::Waits { on: Waiting::Nowhere, machines } = why::why(&world, unit) {
                prop_assert!(machines.values().all(|reasons| !reasons.is_empty()), "{}", unit);
            }
        }
    }

    #[test]
    fn a_drained_machine_ends_empty(mut world in worlds()) {
        world.settle();
        world.machine(1).duty = Duty::Drains;
        world.settle();
        prop_assert!(world.placed.values().all(|p| p.machine != id(1)));
    }
}

#[test]
fn a_thousand_machines_take_a_thousand_units_by_load() {
    let mut world = World::default();
    for n in 0..1000u32 {
        let mut machine = cluster(&[""]).machines.remove(&id(1)).unwrap();
        machine.id = format!("{n:032x}").parse().unwrap();
        world.machines.insert(machine.id.clone(), machine);
        world.launch(&format!("u{n}.service"), "");
    }
    world.settle();
    let machines: BTreeSet<_> = world.placed.values().map(|p| &p.machine).collect();
    assert_eq!((world.placed.len(), machines.len()), (1000, 1000));
    assert!(world.placed.contains_key(&name("u999.service")));
}
