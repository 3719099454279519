//! Global units: one on every machine that suits.
//!
//! The planner never places them: it counts their resources and conflicts where they run, and the
//! engine's round gives each machine its own.

use super::World;
use super::board::Board;
use crate::machine::{Machine, MachineId};
use crate::unit::requirement;
use crate::unit::{Desired, Unit, UnitName};
use std::collections::{BTreeMap, BTreeSet};

/// Whether `unit`, which is global, runs on a machine beside those that are there.
///
/// Who is there first stays: a global unit never displaces another.
#[must_use]
pub fn belongs(unit: &Unit, machine: &Machine, there: &BTreeMap<&UnitName, &Unit>) -> bool {
    let apart = |other: &Unit| {
        other.name != unit.name
            && (unit.options.conflicts_with(&other.name)
                || other.options.conflicts_with(&unit.name)
                || other.options.replaces(&unit.name))
    };
    unit.options.global
        && unit.desired != Desired::Inactive
        && !unit.name.is_template()
        && requirement::unmet(&unit.options.metadata, &machine.metadata).is_none()
        && !there.values().any(|other| apart(other))
}

/// On which machines each global unit belongs.
#[must_use]
pub fn seats(world: &World) -> BTreeMap<&UnitName, BTreeSet<&MachineId>> {
    let mut board = Board::new(world);
    board.seat_globals(world);
    let mut seats: BTreeMap<&UnitName, BTreeSet<&MachineId>> = BTreeMap::new();
    for (id, room) in &board.rooms {
        for (name, _) in room.units.iter().filter(|(_, unit)| unit.options.global) {
            seats.entry(name).or_default().insert(id);
        }
    }
    seats
}

impl<'w> Board<'w> {
    /// Counts the global units in, before anything else is placed.
    pub fn seat_globals(&mut self, world: &'w World) {
        let globals: Vec<&Unit> = world.units.values().filter(|u| u.options.global).collect();
        if globals.is_empty() {
            return;
        }
        let mut there: BTreeMap<_, BTreeMap<&UnitName, &Unit>> = BTreeMap::new();
        for (name, placement) in &world.placed {
            if let Some(unit) = world.units.get(name).filter(|u| world.wants_one(&u.name)) {
                there
                    .entry(&placement.machine)
                    .or_default()
                    .insert(name, unit);
            }
        }
        for (id, machine) in &world.machines {
            let mut units = there.remove(id).unwrap_or_default();
            for global in &globals {
                if belongs(global, machine, &units) {
                    units.insert(&global.name, global);
                    self.seat_global(global, id);
                }
            }
        }
    }
}
