//! First half of a plan: who may stay where it is.
//!
//! It places nothing. What leaves is returned, to be placed again.

use super::board::Board;
use super::order::Order;
use super::refusal::Question;
use super::{Plan, Removal, Step, World};
use crate::machine::{Duty, MachineId};
use crate::unit::{Unit, UnitName};

/// Seats all that may stay; returns the wanted units that have no machine.
pub fn keep<'w>(
    world: &'w World,
    order: &Order<'w>,
    board: &mut Board<'w>,
    plan: &mut Plan,
) -> Vec<&'w Unit> {
    let mut wanted: Vec<&Unit> = world
        .units
        .values()
        .filter(|u| world.wants_one(&u.name))
        .collect();
    for (name, placement) in &world.placed {
        if !world.wants_one(name) {
            let global = world.units.get(name).is_some_and(|u| u.options.global);
            let because = if global {
                Removal::Global
            } else {
                Removal::Unwanted
            };
            remove(plan, name, &placement.machine, because);
        }
    }
    // The older placement of two that exclude each other stays.
    wanted.sort_by_key(|unit| {
        let (depth, priority, name) = order.key(unit);
        let revision = world
            .placed
            .get(&unit.name)
            .map_or(i64::MAX, |p| p.revision);
        (depth, priority, revision, name)
    });
    let mut homeless = Vec::new();
    for unit in wanted {
        let Some(placement) = world.placed.get(&unit.name) else {
            homeless.push(unit);
            continue;
        };
        match leaves(world, order, board, unit, &placement.machine) {
            None => board.seat(unit, &placement.machine),
            Some(because) => {
                remove(plan, &unit.name, &placement.machine, because);
                homeless.push(unit);
            }
        }
    }
    homeless
}

fn remove(plan: &mut Plan, unit: &UnitName, machine: &MachineId, because: Removal) {
    plan.steps.push(Step::Remove {
        unit: unit.clone(),
        machine: machine.clone(),
        because,
    });
}

fn leaves<'w>(
    world: &'w World,
    order: &Order<'w>,
    board: &Board<'w>,
    unit: &'w Unit,
    id: &MachineId,
) -> Option<Removal> {
    let Some(room) = board.rooms.get(id) else {
        return Some(Removal::Drained);
    };
    if world.given_up(id, unit) {
        return Some(Removal::Lost);
    }
    if room.machine.duty == Duty::Drains {
        return Some(Removal::Drained);
    }
    let question = Question {
        board,
        order,
        unit,
        room,
        stays: true,
    };
    question.refusal().map(Removal::Unsuited)
}
