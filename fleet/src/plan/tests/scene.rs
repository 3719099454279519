//! Worlds written in a few words, for the tests.
//!
//! It checks nothing itself.

use super::super::*;
use crate::machine::Duty;
use crate::unit::Options;
use crate::unit::resources::Amount;

/// The id of machine `n`.
pub fn id(n: u8) -> MachineId {
    format!("{n:032x}").parse().unwrap()
}

/// A unit's name.
pub fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

/// A cluster of machines 1, 2, …, each with its metadata.
pub fn cluster(metadata: &[&str]) -> World {
    let mut world = World::default();
    for (number, words) in (1..).zip(metadata) {
        let pair = |word: &str| {
            word.split_once('=')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        };
        let machine = Machine {
            id: id(number),
            metadata: words.split_whitespace().filter_map(pair).collect(),
            capacity: Amount::default(),
            presence: Presence::Live,
            duty: Duty::Serves,
        };
        world.machines.insert(machine.id.clone(), machine);
    }
    world
}

impl World {
    /// Launches a unit with an `[X-Fleet]` section.
    pub fn launch(&mut self, unit: &str, section: &str) -> &mut Self {
        let name = name(unit);
        let options = Options::parse(&name, &format!("[X-Fleet]\n{section}\n")).unwrap();
        let desired = Desired::Launched;
        let unit = Unit {
            name: name.clone(),
            desired,
            options,
        };
        self.units.insert(name, unit);
        self
    }

    /// Plans and applies until nothing changes; returns all steps.
    pub fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..10 {
            let plan = plan(self);
            if plan.steps.is_empty() {
                return steps;
            }
            self.apply(&plan);
            steps.extend(plan.steps);
        }
        panic!("it never comes to rest: {steps:?}");
    }

    /// The number of the machine that a unit is on.
    pub fn on(&self, unit: &str) -> Option<u8> {
        let machine = &self.placed.get(&name(unit))?.machine;
        (1..=u8::MAX).find(|n| id(*n) == *machine)
    }

    /// A machine, to change it.
    pub fn machine(&mut self, number: u8) -> &mut Machine {
        self.machines.get_mut(&id(number)).unwrap()
    }

    /// A machine whose lease expired so many seconds ago.
    pub fn lose(&mut self, number: u8, seconds: u64) -> &mut Self {
        self.machine(number).presence = Presence::Lost(Duration::from_secs(seconds));
        self
    }

    /// Why a unit has no machine.
    pub fn waits(&self, unit: &str) -> Option<Waiting> {
        plan(self).waiting.get(&name(unit)).cloned()
    }
}
