//! Machines as the scheduler sees them: identity, metadata, resources, whether they are there.
//!
//! How a machine's lease is watched is the engine's affair; here it is live or lost since.

use crate::unit::resources::Amount;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A machine's identity (machine-id(5)): 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(String);

/// A text that is no machine's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a machine id of 32 lower-case hexadecimal digits, found {0:?}")]
pub struct BadMachineId(String);

impl FromStr for MachineId {
    type Err = BadMachineId;

    fn from_str(text: &str) -> Result<Self, BadMachineId> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32 && text.bytes().all(digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadMachineId(text.chars().take(64).collect()))
    }
}

impl MachineId {
    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first eight digits, as lists show it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

impl Machine {
    /// Whether it is there and takes units.
    #[must_use]
    pub fn takes_units(&self) -> bool {
        self.presence == Presence::Live && self.duty == Duty::Serves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_machine_id_says() {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(id.short(), "01234567");
        for text in [
            "",
            "0123",
            "0123456789ABCDEF0123456789ABCDEF",
            "é123456789abcdef0123456789abcdef",
        ] {
            assert!(text.parse::<MachineId>().is_err(), "{text}");
        }
    }
}
