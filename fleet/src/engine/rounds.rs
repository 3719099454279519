//! From the mirror to a world, and from a plan to transactions.
//!
//! Every transaction carries the leader's key and the revisions that it was planned from: a deposed
//! leader, or one that missed a change, changes nothing.

mod globals;

use super::mirror::{At, Mirror};
use super::rollout::Verdict;
use crate::brake::Brake;
use crate::machine::{Duty, Machine, Presence};
use crate::plan::{Patience, Placement, Step, World, plan};
use crate::store::{BATCH, CONDITIONS, Compare, Revision, Txn, Write};
use crate::unit::resources::Amount;
use crate::unit::{Options, Unit};
use formats::fleet::{DutyRecord, Key, MachineId, PlacedRecord, UnitName, encode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the planner is asked.
#[must_use]
pub fn world(mirror: &Mirror, brake: &Brake, patience: Patience, now: Duration) -> World {
    let mut world = World {
        patience,
        braked: mirror.brake || brake.held(mirror.machines.len(), now).is_some(),
        ..World::default()
    };
    for id in mirror.machines.keys() {
        world
            .machines
            .insert(id.clone(), machine(mirror, brake, id, now));
    }
    for (name, unit) in &mirror.units {
        world.units.insert(name.clone(), unit.value.1.clone());
    }
    for (name, places) in &mirror.placed {
        if is_global(mirror, name) {
            continue;
        }
        let frozen = frozen(mirror, name).then(|| as_placed(name, places));
        if let Some(unit) = frozen.flatten() {
            if unit.options.global {
                continue;
            }
            world.units.entry(name.clone()).or_insert(unit);
        }
        let here = places
            .iter()
            .filter(|(_, at)| matches!(at.value, PlacedRecord::Here { .. }));
        if let Some((id, at)) = here.min_by_key(|(_, at)| at.modified) {
            let placement = Placement {
                machine: id.clone(),
                revision: at.modified,
            };
            world.placed.insert(name.clone(), placement);
        }
        let running = world.running.entry(name.clone()).or_default();
        running.extend(places.keys().cloned());
    }
    for ((name, id), _) in mirror.status.iter().filter(|(_, status)| status.running) {
        if is_global(mirror, name) {
            continue;
        }
        let running = world.running.entry(name.clone()).or_default();
        running.insert(id.clone());
    }
    world
}

/// Whether a unit's key has a value that cannot be read: nothing about it is changed.
fn frozen(mirror: &Mirror, name: &UnitName) -> bool {
    if mirror.unreadable.is_empty() {
        return false;
    }
    let key = Key::Unit(name.clone()).to_string();
    mirror.unreadable.contains_key(&key)
}

/// A unit as it was when it was placed, so that others still find it where it is.
fn as_placed(name: &UnitName, places: &BTreeMap<MachineId, At<PlacedRecord>>) -> Option<Unit> {
    let mut here = places.values().filter_map(|at| match &at.value {
        PlacedRecord::Here { desired, text } => Some((*desired, text)),
        PlacedRecord::Leaving => None,
    });
    let (desired, text) = here.next()?;
    let (name, options) = (name.clone(), Options::parse(name, text).ok()?);
    Some(Unit {
        name,
        desired,
        options,
    })
}

fn is_global(mirror: &Mirror, name: &UnitName) -> bool {
    let unit = mirror.units.get(name);
    unit.is_some_and(|unit| unit.value.1.options.global)
}

fn machine(mirror: &Mirror, brake: &Brake, id: &MachineId, now: Duration) -> Machine {
    let record = mirror.machines.get(id).cloned().unwrap_or_default();
    // Lost before this engine led, with nothing placed: a leader before it gave the machine up.
    let lost = || Presence::Lost(brake.since(id, now).unwrap_or(Duration::MAX));
    let live = mirror.alive.contains(id);
    Machine {
        id: id.clone(),
        metadata: record.metadata,
        capacity: Amount {
            cpu_milli: record.cpu_milli,
            memory: record.memory,
        },
        presence: if live { Presence::Live } else { lost() },
        duty: match mirror.duties.get(id) {
            None => Duty::Serves,
            Some(DutyRecord::Cordoned) => Duty::Cordoned,
            Some(DutyRecord::Drains) => Duty::Drains,
        },
    }
}

/// One change with what it rests on.
type Change = (Vec<Compare>, Write);

/// The transactions of one round. Each key is changed once: etcd refuses a transaction that changes
/// one twice. What goes comes first, so that nothing is renewed that leaves.
#[must_use]
pub fn round(mirror: &Mirror, world: &World, verdict: &Verdict, leader: Revision) -> Vec<Txn> {
    let mut changes: Vec<Change> = cleared(mirror, world);
    changes.extend(globals::changes(mirror, world));
    for step in plan(world).steps {
        let (Step::Remove { unit, .. } | Step::Place { unit, .. }) = &step;
        if frozen(mirror, unit) {
            continue;
        }
        changes.extend(match step {
            Step::Remove { unit, machine, .. } => removal(mirror, world, &unit, &machine),
            Step::Place { unit, machine } => arrival(mirror, world, &unit, &machine),
        });
    }
    changes.extend(renewed(mirror, verdict));
    changes.extend(verdict.changes.iter().cloned());
    let mut changed = BTreeSet::new();
    changes.retain(|(_, write)| {
        let (Write::Put { key, .. } | Write::Delete(key)) = write;
        changed.insert(key.clone())
    });
    batches(changes, leader)
}

/// As few transactions as etcd's limits allow, each with the leader's key in its conditions.
fn batches(changes: Vec<Change>, leader: Revision) -> Vec<Txn> {
    let fence = || Compare::Created(Key::Leader, leader);
    let mut txns: Vec<Txn> = Vec::new();
    for (when, then) in changes {
        let fits =
            |txn: &&mut Txn| txn.then.len() < BATCH && txn.when.len() + when.len() <= CONDITIONS;
        if let Some(txn) = txns.last_mut().filter(fits) {
            txn.when.extend(when);
            txn.then.push(then);
            continue;
        }
        let when = std::iter::once(fence()).chain(when).collect();
        txns.push(Txn {
            when,
            then: vec![then],
        });
    }
    txns
}

/// What a move away from lost machines rests on: that they are still lost.
fn still_lost<'m>(
    mirror: &'m Mirror,
    machines: impl Iterator<Item = &'m MachineId>,
) -> Vec<Compare> {
    let lost = machines.filter(|id| !mirror.alive.contains(*id));
    lost.map(|id| Compare::Created(Key::Alive(id.clone()), 0))
        .collect()
}

/// Placements that a machine has left: it says so, or it is given up.
fn cleared(mirror: &Mirror, world: &World) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, places) in &mirror.placed {
        for (id, at) in places
            .iter()
            .filter(|(_, at)| at.value == PlacedRecord::Leaving)
        {
            let status = mirror.status.get(&(name.clone(), id.clone()));
            let said = status.is_some_and(|s| !s.running && s.revision >= at.modified);
            if said || world.is_given_up(id, name) {
                let key = Key::Placed(id.clone(), name.clone());
                let mut when = vec![Compare::Modified(key.clone(), at.modified)];
                if !said {
                    when.extend(still_lost(mirror, std::iter::once(id)));
                }
                changes.push((when, Write::Delete(key)));
            }
        }
    }
    changes
}

/// Placements whose unit was changed.
fn renewed(mirror: &Mirror, verdict: &Verdict) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, places) in &mirror.placed {
        let waits = verdict.held.contains(name) && !verdict.next.contains(name);
        let Some(unit) = mirror.units.get(name).filter(|_| !waits) else {
            continue;
        };
        let record = &unit.value.0;
        let wanted = PlacedRecord::Here {
            desired: record.desired,
            text: record.text.clone(),
        };
        let stays = record.desired != formats::fleet::Desired::Inactive;
        let old = |at: &&At<PlacedRecord>| at.value != wanted && at.value != PlacedRecord::Leaving;
        for (id, at) in places.iter().filter(|(_, at)| stays && old(at)) {
            let key = Key::Placed(id.clone(), name.clone());
            let when = vec![
                Compare::Modified(key.clone(), at.modified),
                Compare::Modified(mirror.source(name), unit.modified),
            ];
            changes.push((when, put(key, &wanted)));
        }
    }
    changes
}

fn at<'m>(mirror: &'m Mirror, name: &UnitName, id: &MachineId) -> Option<&'m At<PlacedRecord>> {
    mirror.placed.get(name)?.get(id)
}

fn put(key: Key, value: &PlacedRecord) -> Write {
    Write::Put {
        key,
        value: encode(value),
        lease: None,
    }
}

fn removal(mirror: &Mirror, world: &World, unit: &UnitName, id: &MachineId) -> Option<Change> {
    let at = at(mirror, unit, id)?;
    let key = Key::Placed(id.clone(), unit.clone());
    let mut when = vec![Compare::Modified(key.clone(), at.modified)];
    let gone = world.is_given_up(id, unit);
    if gone {
        when.extend(still_lost(mirror, std::iter::once(id)));
    }
    let write = if gone {
        Write::Delete(key)
    } else {
        put(key, &PlacedRecord::Leaving)
    };
    Some((when, write))
}

fn arrival(mirror: &Mirror, world: &World, name: &UnitName, id: &MachineId) -> Option<Change> {
    let unit = mirror.units.get(name)?;
    let key = Key::Placed(id.clone(), name.clone());
    let mut when = vec![
        Compare::Created(key.clone(), 0),
        Compare::Modified(mirror.source(name), unit.modified),
    ];
    let ran_on = world.running.get(name).into_iter().flatten();
    when.extend(still_lost(mirror, ran_on.filter(|machine| *machine != id)));
    let value = PlacedRecord::Here {
        desired: unit.value.0.desired,
        text: unit.value.0.text.clone(),
    };
    Some((when, put(key, &value)))
}

#[cfg(test)]
mod tests;
