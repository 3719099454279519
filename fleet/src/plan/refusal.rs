//! Why a machine cannot have a unit: each reason a value, with what would have to change.
//!
//! One table of checks serves the planner, who stops at the first, and `why`, who wants all.

use super::board::{Board, Room};
use super::order::Order;
use crate::machine::{Duty, MachineId, Presence};
use crate::unit::requirement::{self, Requirement};
use crate::unit::{Unit, UnitName};
use std::fmt;

/// A machine's reason not to have a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is lost.
    Lost,
    /// It takes no new units.
    Cordoned,
    /// Its units leave.
    Draining,
    /// The unit belongs to another machine.
    OtherMachine(MachineId),
    /// Its metadata does not say what the unit requires.
    Metadata {
        /// What is required.
        wanted: Requirement,
        /// What it says.
        found: Option<String>,
    },
    /// A unit of `MachineOf=` is elsewhere, or nowhere.
    PeerElsewhere {
        /// That unit.
        peer: UnitName,
        /// Its machine.
        machine: Option<MachineId>,
    },
    /// A unit here conflicts with it.
    Conflict(UnitName),
    /// A unit here has displaced it.
    ReplacedBy(UnitName),
    /// Too little processor is free, in thousandths.
    Cpu {
        /// What the unit asks for.
        wanted: u64,
        /// What is free.
        free: u64,
    },
    /// Too little memory is free, in bytes.
    Memory {
        /// What the unit asks for.
        wanted: u64,
        /// What is free.
        free: u64,
    },
    /// A port is taken.
    Port {
        /// The port.
        port: u16,
        /// Who has it.
        holder: UnitName,
    },
}

impl Refusal {
    /// Whether units of lower priority may be displaced to lift it.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(
            self,
            Self::Cpu { .. } | Self::Memory { .. } | Self::Port { .. }
        )
    }
}

/// What the checks look at.
pub struct Question<'q, 'w> {
    /// All machines.
    pub board: &'q Board<'w>,
    /// Who displaces whom.
    pub order: &'q Order<'w>,
    /// The unit.
    pub unit: &'q Unit,
    /// The machine.
    pub room: &'q Room<'w>,
    /// Whether the unit is there already: a cordon then does not matter.
    pub stays: bool,
}

type Check = fn(&Question<'_, '_>) -> Option<Refusal>;

/// In the order of their cost, and of what a reader wants to hear first.
const CHECKS: [Check; 8] = [
    presence, duty, machine, metadata, shortage, port, peers, neighbours,
];

impl Question<'_, '_> {
    /// The first reason.
    pub fn refusal(&self) -> Option<Refusal> {
        CHECKS.iter().find_map(|check| check(self))
    }

    /// Every reason.
    pub fn refusals(&self) -> Vec<Refusal> {
        CHECKS.iter().filter_map(|check| check(self)).collect()
    }
}

fn presence(q: &Question<'_, '_>) -> Option<Refusal> {
    let live = q.room.machine.presence == Presence::Live;
    (!live && !q.stays).then_some(Refusal::Lost)
}

fn duty(q: &Question<'_, '_>) -> Option<Refusal> {
    match q.room.machine.duty {
        Duty::Serves => None,
        Duty::Cordoned => (!q.stays).then_some(Refusal::Cordoned),
        Duty::Drains => Some(Refusal::Draining),
    }
}

fn machine(q: &Question<'_, '_>) -> Option<Refusal> {
    let wanted = q.unit.options.machine.as_ref()?;
    (*wanted != q.room.machine.id).then(|| Refusal::OtherMachine(wanted.clone()))
}

fn metadata(q: &Question<'_, '_>) -> Option<Refusal> {
    let has = &q.room.machine.metadata;
    let unmet = requirement::unmet(&q.unit.options.metadata, has)?;
    Some(Refusal::Metadata {
        wanted: unmet.clone(),
        found: has.get(&unmet.key).cloned(),
    })
}

fn shortage(q: &Question<'_, '_>) -> Option<Refusal> {
    let wanted = q.unit.options.demand.amount;
    let (has, free) = (
        q.room.machine.capacity,
        q.room.machine.capacity.minus(q.room.used),
    );
    if has.cpu_milli > 0 && wanted.cpu_milli > free.cpu_milli {
        return Some(Refusal::Cpu {
            wanted: wanted.cpu_milli,
            free: free.cpu_milli,
        });
    }
    (has.memory > 0 && wanted.memory > free.memory).then_some(Refusal::Memory {
        wanted: wanted.memory,
        free: free.memory,
    })
}

fn port(q: &Question<'_, '_>) -> Option<Refusal> {
    let mut ports = q.unit.options.demand.ports.iter();
    ports.find_map(|port| {
        let holder = q.room.ports.get(port)?;
        Some(Refusal::Port {
            port: *port,
            holder: (*holder).clone(),
        })
    })
}

fn peers(q: &Question<'_, '_>) -> Option<Refusal> {
    q.unit.options.beside.iter().find_map(|peer| {
        let machine = q.board.at.get(peer).copied();
        (machine != Some(&q.room.machine.id)).then(|| Refusal::PeerElsewhere {
            peer: peer.clone(),
            machine: machine.cloned(),
        })
    })
}

fn neighbours(q: &Question<'_, '_>) -> Option<Refusal> {
    let own = &q.unit.options;
    let picky = !own.conflicts.is_empty() || !own.replaces.is_empty();
    let all = q.room.units.values().copied().filter(|_| picky);
    let wary = q.room.wary.iter().filter_map(|name| q.room.units.get(name));
    all.chain(wary.copied())
        .filter(|other| other.name != q.unit.name)
        .find_map(|other| between(q, other))
}

/// What keeps two units apart, if anything does.
fn between(q: &Question<'_, '_>, other: &Unit) -> Option<Refusal> {
    let (own, name) = (&q.unit.options, &other.name);
    let mine = own.conflicts_with(name) || own.replaces(name);
    let theirs = other.options.conflicts_with(&q.unit.name);
    if q.order.displaces(other, q.unit) {
        return Some(Refusal::ReplacedBy(name.clone()));
    }
    let circular = other.options.replaces(&q.unit.name);
    let apart = theirs || circular || (mine && !q.order.displaces(q.unit, other));
    apart.then(|| Refusal::Conflict(name.clone()))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("it is lost: bring it back, or forget it"),
            Self::Cordoned => f.write_str("it is cordoned: uncordon it"),
            Self::Draining => f.write_str("it drains: end the drain"),
            Self::OtherMachine(id) => write!(f, "MachineID= wants machine {}", id.short()),
            Self::Metadata {
                wanted,
                found: None,
            } => {
                write!(
                    f,
                    "MachineMetadata= wants {wanted}, and it has no {}",
                    wanted.key
                )
            }
            Self::Metadata {
                wanted,
                found: Some(found),
            } => {
                write!(
                    f,
                    "MachineMetadata= wants {wanted}, and it has {}={found}",
                    wanted.key
                )
            }
            Self::PeerElsewhere {
                peer,
                machine: None,
            } => {
                write!(
                    f,
                    "MachineOf= wants {peer} beside it, which is on no machine"
                )
            }
            Self::PeerElsewhere {
                peer,
                machine: Some(id),
            } => {
                write!(
                    f,
                    "MachineOf= wants {peer} beside it, which is on {}",
                    id.short()
                )
            }
            Self::Conflict(unit) => write!(f, "it conflicts with {unit}, which is there"),
            Self::ReplacedBy(unit) => write!(f, "{unit} is there and replaces it"),
            Self::Cpu { wanted, free } => write!(
                f,
                "{} processors are wanted and {} are free",
                Thousandths(*wanted),
                Thousandths(*free)
            ),
            Self::Memory { wanted, free } => write!(
                f,
                "{} MiB of memory are wanted and {} MiB are free",
                wanted.div_ceil(1 << 20),
                free >> 20
            ),
            Self::Port { port, holder } => write!(f, "port {port} is taken by {holder}"),
        }
    }
}

struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
