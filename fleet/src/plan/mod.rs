//! The planner: what the cluster is and what is wanted in, the steps that bring them together out.
//!
//! Pure and deterministic: no clock, no chance, the same input gives the same steps. It moves nothing
//! that may stay.

mod board;
pub mod globals;
mod keep;
mod order;
mod place;
pub mod refusal;
#[cfg(test)]
mod tests;
pub mod why;

use crate::machine::{Machine, MachineId, Presence};
use crate::unit::options::OnDisconnect;
use crate::unit::{Desired, Unit, UnitName};
use board::Board;
use refusal::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where a unit is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// On this machine.
    pub machine: MachineId,
    /// etcd's revision of the placement: its age, and the unit's fencing token.
    pub revision: i64,
}

/// How long the cluster waits before it gives a lost machine's units to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time to live of a machine's lease.
    pub ttl: Duration,
    /// What a host needs to kill a unit.
    pub kill: Duration,
    /// After the expiry, for units that need no stop there. Machines that died together are seen lost up
    /// to a third of the TTL apart: acting sooner would move the first one's units before the brake holds.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            kill: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}

impl Patience {
    /// From a lease's expiry until a unit may start elsewhere. For a strict unit that is long enough
    /// for its own machine to have killed it, with a tenth for clocks that drift.
    #[must_use]
    pub fn hold(&self, on_disconnect: OnDisconnect) -> Duration {
        match on_disconnect {
            OnDisconnect::Keep => self.grace,
            OnDisconnect::StopAfter(time) => {
                let all = self.ttl + time + self.kill;
                (all + all / 10).max(self.grace)
            }
        }
    }
}

/// All that the planner knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct World {
    /// Machines, live and lost.
    pub machines: BTreeMap<MachineId, Machine>,
    /// Units and instances, each with its own options; templates are passed over.
    pub units: BTreeMap<UnitName, Unit>,
    /// What stands in etcd: where units are placed. Global units never are.
    pub placed: BTreeMap<UnitName, Placement>,
    /// Machines that say a unit is not stopped yet.
    pub running: BTreeMap<UnitName, BTreeSet<MachineId>>,
    /// Waiting times.
    pub patience: Patience,
    /// Whether the brake is on: nothing is taken from a lost machine.
    pub braked: bool,
}

/// One change of the placements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take a unit from its machine.
    Remove {
        /// The unit.
        unit: UnitName,
        /// From here.
        machine: MachineId,
        /// Why.
        because: Removal,
    },
    /// Give a unit to a machine.
    Place {
        /// The unit.
        unit: UnitName,
        /// To this one.
        machine: MachineId,
    },
}

/// Why a unit leaves a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It was destroyed, or shall be inactive.
    Unwanted,
    /// It is global by now: every agent decides for itself.
    Global,
    /// The machine is lost, and has been for long enough.
    Lost,
    /// The machine drains, or is no longer known.
    Drained,
    /// The machine no longer suits.
    Unsuited(Refusal),
    /// Another unit's `Replaces=` names it.
    Replaced(UnitName),
    /// Another unit of higher priority needs its resources.
    Preempted(UnitName),
}

/// Why a unit that is wanted has no machine at the end of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It is not stopped yet on another machine.
    StillOn(MachineId),
    /// Its `MachineOf=` leads back to itself.
    Circle(Vec<UnitName>),
    /// No machine suits.
    Nowhere,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Changes, in the order in which they are made.
    pub steps: Vec<Step>,
    /// Units that stay without a machine.
    pub waiting: BTreeMap<UnitName, Waiting>,
}

impl World {
    /// Takes a plan's steps as done. New placements get the revision after the highest.
    pub fn apply(&mut self, plan: &Plan) {
        let newest = self.placed.values().map(|p| p.revision).max();
        let revision = newest.unwrap_or(0) + 1;
        for step in &plan.steps {
            match step {
                Step::Remove { unit, .. } => {
                    self.placed.remove(unit);
                }
                Step::Place { unit, machine } => {
                    let machine = machine.clone();
                    let placement = Placement { machine, revision };
                    self.placed.insert(unit.clone(), placement);
                }
            }
        }
    }

    /// Whether this unit is to be on exactly one machine.
    fn wants_one(&self, name: &UnitName) -> bool {
        let unit = self.units.get(name);
        unit.is_some_and(|u| {
            u.desired != Desired::Inactive && !u.options.global && !name.is_template()
        })
    }

    /// Whether what ran on `machine` counts as ended there, for a unit that may be destroyed by now:
    /// then the longest wait of any unit would be too short a guess, and only a forgotten machine counts.
    #[must_use]
    pub fn is_given_up(&self, machine: &MachineId, unit: &UnitName) -> bool {
        match self.units.get(unit) {
            Some(unit) => self.given_up(machine, unit),
            None => !self.machines.contains_key(machine),
        }
    }

    /// Whether what ran on `machine` counts as ended there, for `unit`.
    fn given_up(&self, machine: &MachineId, unit: &Unit) -> bool {
        match self.machines.get(machine).map(|m| m.presence) {
            Some(Presence::Live) => false,
            Some(Presence::Lost(since)) => {
                !self.braked && since >= self.patience.hold(unit.options.on_disconnect)
            }
            // Forgotten by an operator's command: it never comes back.
            None => true,
        }
    }

    /// A machine other than `place` on which the unit may still run.
    fn still_on(&self, unit: &Unit, place: Option<&MachineId>) -> Option<&MachineId> {
        let machines = self.running.get(&unit.name)?;
        machines
            .iter()
            .find(|machine| Some(*machine) != place && !self.given_up(machine, unit))
    }
}

/// Plans one round.
#[must_use]
pub fn plan(world: &World) -> Plan {
    let mut plan = Plan::default();
    let order = order::Order::of(world);
    let mut board = Board::new(world);
    board.seat_globals(world);
    let homeless = keep::keep(world, &order, &mut board, &mut plan);
    place::place(world, &order, &mut board, homeless, &mut plan);
    plan
}
