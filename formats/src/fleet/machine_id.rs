//! Identities of machines (machine-id(5)).
//!
//! A [`MachineId`] can hold nothing but hexadecimal digits, so it may stand in a key and in a path.

use std::fmt;
use std::str::FromStr;

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
