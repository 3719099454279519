//! Values of the fleet's keys.
//!
//! Unknown fields are passed over, so that an older engine reads what a newer agent writes; an unknown
//! state is an error of that key.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value may have this many bytes at most (etcd takes 1.5 MiB in a request).
pub const MAX_VALUE: usize = 256 * 1024;

/// What is wanted of a unit (fleet's `desiredState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// Known to the cluster, on no machine.
    Inactive,
    /// On a machine, not started.
    Loaded,
    /// On a machine, started.
    Launched,
}

/// `machines/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineRecord {
    /// What its operator says of it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Thousandths of processors that units may have; 0 is not counted.
    #[serde(default)]
    pub cpu_milli: u64,
    /// Bytes of memory that units may have; 0 is not counted.
    #[serde(default)]
    pub memory: u64,
}

/// `drain/<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DutyRecord {
    /// Takes no new units.
    Cordoned,
    /// Its units leave.
    Drains,
}

/// `units/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// What is wanted of it.
    pub desired: Desired,
    /// The unit file.
    pub text: String,
}

/// `placed/<id>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum PlacedRecord {
    /// The machine shall have it.
    Here {
        /// Whether it shall run.
        desired: Desired,
        /// The unit file.
        text: String,
    },
    /// The machine shall stop it and say so; then the key goes.
    Leaving,
}

/// `status/<id>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// Revision of the placement that this speaks of; of a global unit, of the unit.
    pub revision: i64,
    /// Whether anything of it runs or may run.
    pub running: bool,
    /// systemd's `ActiveState`.
    pub active: String,
    /// systemd's `SubState`.
    #[serde(default)]
    pub sub: String,
}

/// Reads a value.
///
/// # Errors
/// What is wrong with it, without its content.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > MAX_VALUE {
        let found = bytes.len();
        return Err(format!("expected at most {MAX_VALUE} bytes, found {found}"));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| format!("line {} column {}: no such value", e.line(), e.column()))
}

/// Writes a value.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // These types have string keys and no failing serializer: nothing else can be wrong.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        let unit = UnitRecord {
            desired: Desired::Launched,
            text: "[Service]\n".into(),
        };
        let golden = r#"{"desired":"launched","text":"[Service]\n"}"#;
        assert_eq!(String::from_utf8(encode(&unit)).unwrap(), golden);
        assert_eq!(decode::<UnitRecord>(golden.as_bytes()).unwrap(), unit);
        let placed = PlacedRecord::Here {
            desired: Desired::Loaded,
            text: "x".into(),
        };
        let golden = r#"{"is":"here","desired":"loaded","text":"x"}"#;
        assert_eq!(String::from_utf8(encode(&placed)).unwrap(), golden);
        assert_eq!(encode(&PlacedRecord::Leaving), br#"{"is":"leaving"}"#);
        assert_eq!(encode(&DutyRecord::Drains), br#""drains""#);
        let status = StatusRecord {
            revision: 7,
            running: true,
            active: "active".into(),
            sub: "running".into(),
        };
        let golden = r#"{"revision":7,"running":true,"active":"active","sub":"running"}"#;
        assert_eq!(String::from_utf8(encode(&status)).unwrap(), golden);
        let machine = r#"{"metadata":{"zone":"a"},"cpu_milli":1000,"memory":5,"later":1}"#;
        assert_eq!(
            decode::<MachineRecord>(machine.as_bytes())
                .unwrap()
                .cpu_milli,
            1000
        );
    }

    #[test]
    fn a_state_that_nobody_knows_is_an_error_without_the_value_in_it() {
        let error = decode::<UnitRecord>(br#"{"desired":"secret!","text":""}"#).unwrap_err();
        assert!(
            error.contains("line 1") && !error.contains("secret"),
            "{error}"
        );
        assert!(decode::<UnitRecord>(&vec![b' '; MAX_VALUE + 1]).is_err());
        assert!(decode::<PlacedRecord>(b"\xff").is_err());
    }
}
