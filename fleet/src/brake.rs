//! The brake: many machines lost at once are a broken network or a stalled etcd, not many dead machines.
//!
//! Pure: it counts what it is told. It never moves a unit; while it is on, nobody may take one from a
//! lost machine.

use crate::machine::MachineId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why nothing is taken from lost machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// More machines were lost within one TTL than may be at once.
    MassLoss {
        /// How many.
        lost: usize,
        /// How many may be.
        allowed: usize,
    },
    /// This engine leads, or etcd answers again, for less than one TTL: what it saw expire may have
    /// been an outage of etcd.
    JustBegan,
}

/// The brake's memory. Times are the engine's own monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brake {
    ttl: Duration,
    /// When this engine began to lead, or etcd last came back.
    began: Duration,
    /// When each lost machine's expiry was seen.
    lost: BTreeMap<MachineId, Duration>,
    /// On since a mass loss, until machines return or an operator lifts it.
    on: Option<usize>,
}

impl Brake {
    /// For an engine that begins to lead at `now`.
    #[must_use]
    pub fn new(ttl: Duration, now: Duration) -> Self {
        Self {
            ttl,
            began: now,
            lost: BTreeMap::new(),
            on: None,
        }
    }

    /// How many of `machines` may be lost at once: a quarter, and at least one.
    #[must_use]
    pub fn allowed(machines: usize) -> usize {
        (machines / 4).max(1)
    }

    /// etcd did not answer for a while and does now: leases may have run out without anybody's fault.
    pub fn stalled(&mut self, now: Duration) {
        self.began = now;
    }

    /// A machine's lease expired; `machines` is how many there are, lost ones included.
    pub fn lost(&mut self, machine: MachineId, machines: usize, now: Duration) {
        self.lost.entry(machine).or_insert(now);
        let recent = |at: &&Duration| now.saturating_sub(**at) <= self.ttl;
        let at_once = self.lost.values().filter(recent).count();
        if at_once > Self::allowed(machines) {
            self.on = Some(self.on.map_or(at_once, |most| most.max(at_once)));
        }
    }

    /// A machine is back. When so many are that the rest would never have pulled it, the brake goes off.
    pub fn returned(&mut self, machine: &MachineId, machines: usize) {
        self.lost.remove(machine);
        if self.lost.len() <= Self::allowed(machines) {
            self.on = None;
        }
    }

    /// A machine was forgotten by command: it neither counts nor returns.
    pub fn forgotten(&mut self, machine: &MachineId) {
        self.lost.remove(machine);
    }

    /// A leader before this one had it on: it stays on while too many are still lost.
    pub fn inherit(&mut self, machines: usize) {
        if self.lost.len() > Self::allowed(machines) {
            self.on = Some(self.on.unwrap_or(0).max(self.lost.len()));
        }
    }

    /// An operator says that the lost machines are lost.
    pub fn lift(&mut self) {
        self.on = None;
    }

    /// Whether, and why, nothing may be taken from lost machines.
    #[must_use]
    pub fn held(&self, machines: usize, now: Duration) -> Option<Held> {
        if let Some(lost) = self.on {
            let allowed = Self::allowed(machines);
            return Some(Held::MassLoss { lost, allowed });
        }
        (now.saturating_sub(self.began) < self.ttl).then_some(Held::JustBegan)
    }

    /// How long ago a machine's expiry was seen.
    #[must_use]
    pub fn since(&self, machine: &MachineId, now: Duration) -> Option<Duration> {
        self.lost.get(machine).map(|at| now.saturating_sub(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn id(n: u8) -> MachineId {
        format!("{n:032x}").parse().unwrap()
    }

    fn brake() -> Brake {
        Brake::new(seconds(10), seconds(0))
    }

    #[test]
    fn one_of_two_and_one_of_three_may_be_lost() {
        for machines in [2, 3] {
            let mut brake = brake();
            brake.lost(id(1), machines, seconds(60));
            assert_eq!(brake.held(machines, seconds(60)), None);
            assert_eq!(brake.since(&id(1), seconds(64)), Some(seconds(4)));
        }
    }

    #[test]
    fn two_of_five_at_once_pull_it_until_one_returns() {
        let mut brake = brake();
        brake.lost(id(1), 5, seconds(60));
        brake.lost(id(2), 5, seconds(65));
        let held = Held::MassLoss {
            lost: 2,
            allowed: 1,
        };
        assert_eq!(brake.held(5, seconds(65)), Some(held));
        assert_eq!(
            brake.held(5, seconds(9999)),
            Some(held),
            "time does not lift it"
        );
        brake.returned(&id(1), 5);
        assert_eq!(brake.held(5, seconds(70)), None);
    }

    #[test]
    fn losses_that_are_further_apart_than_a_ttl_do_not_pull_it() {
        let mut brake = brake();
        brake.lost(id(1), 5, seconds(60));
        brake.lost(id(2), 5, seconds(71));
        assert_eq!(brake.held(5, seconds(71)), None);
    }

    #[test]
    fn an_operator_lifts_it_and_the_next_mass_loss_pulls_it_again() {
        let mut brake = brake();
        (1..=3).for_each(|n| brake.lost(id(n), 8, seconds(60)));
        assert!(brake.held(8, seconds(61)).is_some());
        brake.lift();
        assert_eq!(brake.held(8, seconds(61)), None);
        (4..=6).for_each(|n| brake.lost(id(n), 8, seconds(90)));
        assert!(brake.held(8, seconds(91)).is_some());
    }

    #[test]
    fn nothing_is_acted_on_for_a_ttl_after_an_election_or_a_stall() {
        let mut brake = brake();
        assert_eq!(brake.held(3, seconds(9)), Some(Held::JustBegan));
        assert_eq!(brake.held(3, seconds(10)), None);
        brake.stalled(seconds(100));
        assert_eq!(brake.held(3, seconds(105)), Some(Held::JustBegan));
        assert_eq!(brake.held(3, seconds(110)), None);
    }
}
