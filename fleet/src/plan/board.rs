//! The board: who sits where while a plan is made, and what each machine has left.
//!
//! It answers and keeps count; it decides nothing.

use super::World;
use crate::machine::{Machine, MachineId};
use crate::unit::resources::Amount;
use crate::unit::{Unit, UnitName};
use std::collections::{BTreeMap, BTreeSet};

/// One machine and its units.
#[derive(Debug)]
pub struct Room<'w> {
    /// The machine.
    pub machine: &'w Machine,
    /// Who is here.
    pub units: BTreeMap<&'w UnitName, &'w Unit>,
    /// Those of them that keep others away, or are kept away by them.
    pub wary: BTreeSet<&'w UnitName>,
    /// What they take together.
    pub used: Amount,
    /// Who has which port.
    pub ports: BTreeMap<u16, &'w UnitName>,
}

impl<'w> Room<'w> {
    fn new(machine: &'w Machine) -> Self {
        Self {
            machine,
            units: BTreeMap::new(),
            wary: BTreeSet::new(),
            used: Amount::default(),
            ports: BTreeMap::new(),
        }
    }

    fn enter(&mut self, unit: &'w Unit) {
        let options = &unit.options;
        self.units.insert(&unit.name, unit);
        if !options.conflicts.is_empty() || !options.replaces.is_empty() {
            self.wary.insert(&unit.name);
        }
        self.used = self.used.plus(options.demand.amount);
        for port in &options.demand.ports {
            self.ports.entry(*port).or_insert(&unit.name);
        }
    }

    fn leave(&mut self, unit: &Unit) {
        self.units.remove(&unit.name);
        self.wary.remove(&unit.name);
        self.used = self.used.minus(unit.options.demand.amount);
        self.ports.retain(|_, holder| **holder != unit.name);
    }

    /// How full it would be with `more`, in thousandths of the scarcer resource.
    pub fn fullness(&self, more: Amount) -> u64 {
        let all = self.used.plus(more);
        let has = self.machine.capacity;
        let share = |used: u64, has: u64| used.saturating_mul(1000).checked_div(has).unwrap_or(0);
        share(all.cpu_milli, has.cpu_milli).max(share(all.memory, has.memory))
    }
}

/// All machines.
#[derive(Debug)]
pub struct Board<'w> {
    /// Machines by id.
    pub rooms: BTreeMap<&'w MachineId, Room<'w>>,
    /// Where each unit sits.
    pub at: BTreeMap<&'w UnitName, &'w MachineId>,
    /// How many siblings (units of one prefix) sit on machines with a value of a metadata key.
    spread: BTreeMap<(&'w str, &'w str, &'w str), usize>,
    /// Prefixes with a `Spread=` key.
    spreading: BTreeMap<&'w str, BTreeSet<&'w str>>,
}

impl<'w> Board<'w> {
    /// An empty one.
    pub fn new(world: &'w World) -> Self {
        let rooms = world.machines.iter().map(|(id, m)| (id, Room::new(m)));
        let mut spreading: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for unit in world.units.values() {
            if let Some(key) = &unit.options.spread {
                spreading.entry(unit.name.prefix()).or_default().insert(key);
            }
        }
        Self {
            rooms: rooms.collect(),
            at: BTreeMap::new(),
            spread: BTreeMap::new(),
            spreading,
        }
    }

    /// Puts a unit on a machine of the board.
    pub fn seat(&mut self, unit: &'w Unit, machine: &'w MachineId) {
        if let Some(room) = self.rooms.get_mut(machine) {
            room.enter(unit);
            self.at.insert(&unit.name, machine);
            self.count(unit, machine, true);
        }
    }

    /// Puts a global unit on a machine: it is counted there, and sits at no one place.
    pub fn seat_global(&mut self, unit: &'w Unit, machine: &MachineId) {
        if let Some(room) = self.rooms.get_mut(machine) {
            room.enter(unit);
        }
    }

    /// Takes a unit from its machine.
    pub fn unseat(&mut self, unit: &'w Unit) {
        if let Some(machine) = self.at.remove(&unit.name) {
            if let Some(room) = self.rooms.get_mut(machine) {
                room.leave(unit);
            }
            self.count(unit, machine, false);
        }
    }

    fn count(&mut self, unit: &'w Unit, machine: &'w MachineId, more: bool) {
        let prefix = unit.name.prefix();
        let Some(keys) = self.spreading.get(prefix) else {
            return;
        };
        for key in keys.clone() {
            let Some(value) = self.value(machine, key) else {
                continue;
            };
            let number = self.spread.entry((prefix, key, value)).or_default();
            *number = if more {
                *number + 1
            } else {
                number.saturating_sub(1)
            };
        }
    }

    fn value(&self, machine: &'w MachineId, key: &str) -> Option<&'w str> {
        let machine = self.rooms.get(machine)?.machine;
        machine.metadata.get(key).map(String::as_str)
    }

    /// How many siblings of `unit` the spread domain of a machine has; a machine without the key
    /// comes last.
    pub fn siblings(&self, unit: &'w Unit, machine: &'w Machine) -> usize {
        let Some(key) = unit.options.spread.as_deref() else {
            return 0;
        };
        let Some(value) = machine.metadata.get(key) else {
            return usize::MAX;
        };
        let domain = (unit.name.prefix(), key, value.as_str());
        self.spread.get(&domain).copied().unwrap_or(0)
    }
}
