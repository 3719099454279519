//! Hands on a quiet cluster: one fault at a time, and what a user sees of it.
//!
//! The seeds do without: their faults come by chance.

use super::cluster::{Cluster, machine};
use super::{Violation, faults};
use formats::fleet::Desired;
use std::collections::BTreeMap;
use std::time::Duration;

impl Cluster {
    /// Launches every unit.
    pub fn launch_all(&mut self) {
        for number in 0..self.setup.units {
            faults::launch(self, number, Desired::Launched);
        }
        self.tell();
    }

    /// Lets so many seconds pass.
    ///
    /// # Errors
    /// A rule that was broken.
    pub fn pass(&mut self, seconds: u64) -> Result<(), Violation> {
        self.run(self.now + Duration::from_secs(seconds))
    }

    /// etcd answers nothing for so many seconds.
    pub fn stall(&mut self, seconds: u64) {
        self.trouble.stall = Some(self.now + Duration::from_secs(seconds));
    }

    /// Cuts the power of machine number so and so, for longer than any test looks.
    pub fn kill(&mut self, number: usize) {
        faults::kill(self, self.setup.engines + number, (3_600_000, 3_600_000));
    }

    /// What an operator does who knows that the machines are lost.
    pub fn lift_brake(&mut self) {
        self.etcd.poke("engine/brake", None);
        self.tell();
    }

    /// The machine that each unit runs on.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for number in 0..self.setup.machines {
            let host = &self.hosts[&machine(&self.setup, self.setup.engines + number)];
            all.extend(host.running.keys().map(|unit| (unit.to_string(), number)));
        }
        all
    }

    /// How often each unit ended.
    #[must_use]
    pub fn stops(&self) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for (unit, number) in self.hosts.values().flat_map(|host| &host.ended) {
            *all.entry(unit.to_string()).or_default() += number;
        }
        all
    }
}
