//! The engine's copy of the cluster: every key that it understands, typed.
//!
//! A value that it does not understand is set aside with its reason; it changes nothing for the others.

use crate::store::{Change, Item, Revision};
use crate::unit::{Options, Unit};
use formats::fleet::{
    Desired, DutyRecord, Key, MachineId, MachineRecord, PlacedRecord, RebootGroup, RebootRecord,
    RolloutRecord, StatusRecord, UnitName, UnitRecord, decode,
};
use std::collections::{BTreeMap, BTreeSet};

/// A value with the revision of its last change.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its last change.
    pub modified: Revision,
}

/// The copy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mirror {
    /// `machines/`.
    pub machines: BTreeMap<MachineId, MachineRecord>,
    /// `alive/`.
    pub alive: BTreeSet<MachineId>,
    /// `drain/`.
    pub duties: BTreeMap<MachineId, DutyRecord>,
    /// `units/`, with their options, and the instances that `Count=` of a template asks for.
    pub units: BTreeMap<UnitName, At<(UnitRecord, Unit)>>,
    /// Instances that nobody submitted, each with the template whose `Count=` asks for it.
    pub counted: BTreeMap<UnitName, UnitName>,
    /// `placed/`, by unit: more than one while it moves.
    pub placed: BTreeMap<UnitName, BTreeMap<MachineId, At<PlacedRecord>>>,
    /// `status/`.
    pub status: BTreeMap<(UnitName, MachineId), StatusRecord>,
    /// `rollout/`, by template.
    pub rollouts: BTreeMap<UnitName, At<RolloutRecord>>,
    /// `reboot/`.
    pub reboots: BTreeMap<RebootGroup, At<RebootRecord>>,
    /// When the leader's key was created, and by whom, if there is one.
    pub leader: Option<(Revision, String)>,
    /// Whether the brake's key is there.
    pub brake: bool,
    /// Keys that are passed over, and why.
    pub unreadable: BTreeMap<String, String>,
    /// All changes up to this revision are in.
    pub revision: Revision,
}

impl Mirror {
    /// From a reading of everything.
    #[must_use]
    pub fn of(revision: Revision, items: &[Item]) -> Self {
        let mut mirror = Self::default();
        for item in items {
            mirror.put(item);
        }
        mirror.revision = revision;
        mirror
    }

    /// Takes in one change.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Put(item) => self.put(item),
            Change::Deleted { key, .. } => self.forget(key),
        }
    }

    /// What cannot be read leaves the former value in place: poison stops nothing.
    fn put(&mut self, item: &Item) {
        self.unreadable.remove(&item.key);
        let read = item.key.parse().map_err(|e| format!("{e}"));
        if let Err(why) = read.and_then(|key: Key| self.take(key, item)) {
            self.unreadable.insert(item.key.clone(), why);
        }
    }

    fn take(&mut self, key: Key, item: &Item) -> Result<(), String> {
        let (bytes, modified) = (item.value.as_slice(), item.modified);
        match key {
            Key::Machine(id) => drop(self.machines.insert(id, decode(bytes)?)),
            Key::Alive(id) => drop(self.alive.insert(id)),
            Key::Duty(id) => drop(self.duties.insert(id, decode(bytes)?)),
            Key::Unit(name) => {
                let value = unit(&name, decode(bytes)?)?;
                self.counted.remove(&name);
                self.units.insert(name.clone(), At { value, modified });
                self.count(&name);
            }
            Key::Placed(id, name) => {
                let value = decode(bytes)?;
                let placed = self.placed.entry(name).or_default();
                placed.insert(id, At { value, modified });
            }
            Key::Status(id, name) => drop(self.status.insert((name, id), decode(bytes)?)),
            Key::Leader => self.leader = Some((item.created, decode(bytes).unwrap_or_default())),
            Key::Brake => self.brake = true,
            Key::Rollout(name) => {
                let value = decode(bytes)?;
                self.rollouts.insert(name, At { value, modified });
            }
            Key::Reboot(group) => {
                let value = decode(bytes)?;
                self.reboots.insert(group, At { value, modified });
            }
        }
        Ok(())
    }

    fn forget(&mut self, key: &str) {
        self.unreadable.remove(key);
        match key.parse() {
            Ok(Key::Machine(id)) => drop(self.machines.remove(&id)),
            Ok(Key::Alive(id)) => drop(self.alive.remove(&id)),
            Ok(Key::Duty(id)) => drop(self.duties.remove(&id)),
            // An instance that was submitted by itself is one of its template's again.
            Ok(Key::Unit(name)) => {
                self.units.remove(&name);
                self.count(&name.template().unwrap_or(name));
            }
            Ok(Key::Placed(id, name)) => self.unplace(&id, &name),
            Ok(Key::Status(id, name)) => drop(self.status.remove(&(name, id))),
            Ok(Key::Leader) => self.leader = None,
            Ok(Key::Brake) => self.brake = false,
            Ok(Key::Rollout(name)) => drop(self.rollouts.remove(&name)),
            Ok(Key::Reboot(group)) => drop(self.reboots.remove(&group)),
            Err(_) => {}
        }
    }

    /// The key that a unit's text comes from.
    #[must_use]
    pub fn source(&self, name: &UnitName) -> Key {
        Key::Unit(self.counted.get(name).unwrap_or(name).clone())
    }

    /// Makes a template's instances as many as its `Count=` says. Those that were submitted by
    /// themselves are left as they are.
    fn count(&mut self, template: &UnitName) {
        if !template.is_template() {
            return;
        }
        let stale = self.counted.iter().filter(|(_, of)| *of == template);
        let stale: Vec<UnitName> = stale.map(|(name, _)| name.clone()).collect();
        for name in stale {
            self.counted.remove(&name);
            self.units.remove(&name);
            self.unreadable.remove(&Key::Unit(name).to_string());
        }
        let Some(At { value, modified }) = self.units.get(template).cloned() else {
            return;
        };
        let idle = value.0.desired == Desired::Inactive;
        let wanted = value.1.options.count.filter(|_| !idle).unwrap_or(0);
        for name in (1..=wanted).filter_map(|number| template.numbered(number)) {
            if self.units.contains_key(&name) {
                continue;
            }
            match unit(&name, value.0.clone()) {
                Ok(value) => {
                    self.units.insert(name.clone(), At { value, modified });
                    self.counted.insert(name, template.clone());
                }
                Err(why) => drop(self.unreadable.insert(Key::Unit(name).to_string(), why)),
            }
        }
    }

    fn unplace(&mut self, id: &MachineId, name: &UnitName) {
        if let Some(placed) = self.placed.get_mut(name) {
            placed.remove(id);
            if placed.is_empty() {
                self.placed.remove(name);
            }
        }
    }
}

fn unit(name: &UnitName, record: UnitRecord) -> Result<(UnitRecord, Unit), String> {
    let options = Options::parse(name, &record.text).map_err(|problems| {
        let first = problems.first();
        first.map_or_else(String::new, |p| format!("line {}: {}", p.line, p.message))
    })?;
    let unit = Unit {
        name: name.clone(),
        desired: record.desired,
        options,
    };
    Ok((record, unit))
}
