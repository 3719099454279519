//! `skeg fleet why UNIT`: why a unit is where it is, or what would have to change for it to run.
//!
//! It asks the planner's own checks; it has no opinion of its own.

use super::board::Board;
use super::order::Order;
use super::refusal::{Question, Refusal};
use super::{Waiting, World, plan};
use crate::machine::{Machine, MachineId};
use crate::unit::{Desired, Unit, UnitName};
use std::collections::BTreeMap;
use std::fmt;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nobody submitted it.
    Unknown,
    /// It is a template: only its instances run.
    Template,
    /// It is not wanted on any machine.
    Inactive,
    /// It runs on every machine that suits.
    Global {
        /// These do.
        on: Vec<MachineId>,
    },
    /// It has its place.
    Placed(MachineId),
    /// It was not placed yet; the next plan gives it to this machine.
    Soon(MachineId),
    /// It waits.
    Waits {
        /// For this.
        on: Waiting,
        /// What each machine says, when none suits.
        machines: BTreeMap<MachineId, Vec<Refusal>>,
    },
}

/// Explains a unit.
#[must_use]
pub fn why(world: &World, name: &UnitName) -> Why {
    let Some(unit) = world.units.get(name) else {
        return Why::Unknown;
    };
    if name.is_template() {
        return Why::Template;
    }
    if unit.desired == Desired::Inactive {
        return Why::Inactive;
    }
    let mut after = world.clone();
    let plan = plan(world);
    after.apply(&plan);
    if unit.options.global {
        return Why::Global {
            on: global(&after, name),
        };
    }
    match (after.placed.get(name), world.placed.get(name)) {
        (Some(next), Some(now)) if next == now => Why::Placed(now.machine.clone()),
        (Some(next), _) => Why::Soon(next.machine.clone()),
        (None, _) => Why::Waits {
            on: plan.waiting.get(name).cloned().unwrap_or(Waiting::Nowhere),
            machines: asked(&after, unit),
        },
    }
}

fn global(world: &World, name: &UnitName) -> Vec<MachineId> {
    let mut board = Board::new(world);
    board.seat_globals(world);
    let rooms = board.rooms.values();
    let on = rooms.filter(|room| room.units.contains_key(name));
    on.map(|room| room.machine.id.clone()).collect()
}

/// What every machine says, once all others sit where the plan puts them.
fn asked(world: &World, unit: &Unit) -> BTreeMap<MachineId, Vec<Refusal>> {
    let order = Order::of(world);
    let mut board = Board::new(world);
    board.seat_globals(world);
    for (name, placement) in &world.placed {
        if let Some(other) = world.units.get(name) {
            board.seat(other, &placement.machine);
        }
    }
    let refusals = |machine: &Machine| {
        board.rooms.get(&machine.id).map_or_else(Vec::new, |room| {
            let question = Question {
                board: &board,
                order: &order,
                unit,
                room,
                stays: false,
            };
            question.refusals()
        })
    };
    world
        .machines
        .values()
        .map(|m| (m.id.clone(), refusals(m)))
        .collect()
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such unit: submit it first"),
            Self::Template => f.write_str("a template: start one of its instances"),
            Self::Inactive => f.write_str("inactive: start it to give it a machine"),
            Self::Global { on } => write!(f, "global, on {} machines that suit", on.len()),
            Self::Placed(machine) => write!(f, "on {}, where it may stay", machine.short()),
            Self::Soon(machine) => write!(f, "about to be placed on {}", machine.short()),
            Self::Waits {
                on: Waiting::StillOn(machine),
                ..
            } => {
                write!(
                    f,
                    "waits until {} says that it is stopped there",
                    machine.short()
                )
            }
            Self::Waits {
                on: Waiting::Circle(names),
                ..
            } => {
                let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
                write!(f, "its MachineOf= goes in a circle: {}", names.join(" → "))
            }
            Self::Waits { machines, .. } if machines.is_empty() => {
                f.write_str("there is no machine")
            }
            Self::Waits { machines, .. } => {
                f.write_str("no machine suits:")?;
                for (machine, refusals) in machines {
                    for refusal in refusals {
                        write!(f, "\n  {}: {refusal}", machine.short())?;
                    }
                }
                Ok(())
            }
        }
    }
}
