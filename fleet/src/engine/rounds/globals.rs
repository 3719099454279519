//! Global units in a round: every machine gets those that belong on it, and loses those that do not.
//!
//! Agents read only what is placed on their own machine, so a global unit is a placement on each.

use super::{Change, arrival, removal};
use crate::engine::mirror::Mirror;
use crate::machine::{Duty, MachineId, Presence};
use crate::plan::{World, globals};
use formats::fleet::{PlacedRecord, UnitName};
use std::collections::BTreeSet;

/// What has to change.
pub(super) fn changes(mirror: &Mirror, world: &World) -> Vec<Change> {
    let seats = globals::seats(world);
    let nowhere = BTreeSet::new();
    let mut changes = Vec::new();
    for (name, _) in world.units.iter().filter(|(_, unit)| unit.options.global) {
        let seats = seats.get(name).unwrap_or(&nowhere);
        for id in seats.iter().filter(|id| takes(world, id)) {
            if !is_there(mirror, name, id) {
                changes.extend(arrival(mirror, world, name, id));
            }
        }
        for id in here(mirror, name) {
            if !seats.contains(id) || drains(world, id) {
                changes.extend(removal(mirror, world, name, id));
            }
        }
    }
    changes.extend(extra(mirror, world));
    changes
}

/// Units that are no longer global, or were destroyed: one of their machines is the planner's to
/// judge, the others lose them.
fn extra(mirror: &Mirror, world: &World) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, placement) in &world.placed {
        for id in here(mirror, name).filter(|id| **id != placement.machine) {
            changes.extend(removal(mirror, world, name, id));
        }
    }
    changes
}

fn here<'m>(mirror: &'m Mirror, name: &UnitName) -> impl Iterator<Item = &'m MachineId> {
    let places = mirror.placed.get(name).into_iter().flatten();
    places
        .filter(|(_, at)| matches!(at.value, PlacedRecord::Here { .. }))
        .map(|(id, _)| id)
}

fn is_there(mirror: &Mirror, name: &UnitName, id: &MachineId) -> bool {
    let places = mirror.placed.get(name);
    places.is_some_and(|places| places.contains_key(id))
}

/// A lost machine, or one that is cordoned, gets nothing new.
fn takes(world: &World, id: &MachineId) -> bool {
    let machine = world.machines.get(id);
    machine.is_some_and(|m| m.presence == Presence::Live && m.duty == Duty::Serves)
}

fn drains(world: &World, id: &MachineId) -> bool {
    let machine = world.machines.get(id);
    machine.is_none_or(|m| m.duty == Duty::Drains)
}
