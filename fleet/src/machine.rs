//! Machines as the scheduler sees them: identity, metadata, resources, whether they are there.
//!
//! How a machine's lease is watched is the engine's affair; here it is live or lost since.

use crate::unit::resources::Amount;
pub use formats::fleet::MachineId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whether a machine is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its lease is alive.
    Live,
    /// Its lease expired this long ago, on the engine's own monotonic clock.
    Lost(Duration),
}

/// What an operator asked of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duty {
    /// It takes units.
    #[default]
    Serves,
    /// It keeps its units and takes no others.
    Cordoned,
    /// Its units leave.
    Drains,
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Who it is.
    pub id: MachineId,
    /// What its operator says of it.
    pub metadata: BTreeMap<String, String>,
    /// What it has for units; none of a resource means that it is not counted.
    pub capacity: Amount,
    /// Whether it is there.
    pub presence: Presence,
    /// What was asked of it.
    pub duty: Duty,
}
