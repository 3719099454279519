//! Keys of the fleet in etcd.
//!
//! A [`Key`] writes and reads itself without loss; what is no key of ours is an error, never a guess.

use super::{MachineId, RebootGroup, UnitName};
use std::fmt;
use std::str::FromStr;

/// One key, without the cluster's prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `machines/<id>`: what a machine is; it outlives its lease.
    Machine(MachineId),
    /// `alive/<id>`: bound to the machine's lease.
    Alive(MachineId),
    /// `drain/<id>`: what an operator asked of a machine.
    Duty(MachineId),
    /// `units/<name>`: what is wanted, with the unit's text.
    Unit(UnitName),
    /// `placed/<id>/<name>`: the machine has the unit; its revision is the fencing token.
    Placed(MachineId, UnitName),
    /// `status/<id>/<name>`: what the machine says of the unit.
    Status(MachineId, UnitName),
    /// `engine/leader`: bound to the leading engine's lease.
    Leader,
    /// `engine/brake`: there while nothing is taken from lost machines; deleted by an operator.
    Brake,
    /// `reboot/<group>`: which machines of a group may reboot now.
    Reboot(RebootGroup),
    /// `rollout/<template>`: a changed text goes round its instances, or came back.
    Rollout(UnitName),
}

/// A text that is no key of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a key like placed/MACHINE/UNIT, found {0:?}")]
pub struct BadKey(pub String);

/// Prefix of all that is placed on a machine.
#[must_use]
pub fn placed_on(machine: &MachineId) -> String {
    format!("placed/{machine}/")
}

/// Prefix of all that a machine says of units.
#[must_use]
pub fn status_of(machine: &MachineId) -> String {
    format!("status/{machine}/")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(id) => write!(f, "machines/{id}"),
            Self::Alive(id) => write!(f, "alive/{id}"),
            Self::Duty(id) => write!(f, "drain/{id}"),
            Self::Unit(name) => write!(f, "units/{name}"),
            Self::Placed(id, name) => write!(f, "placed/{id}/{name}"),
            Self::Status(id, name) => write!(f, "status/{id}/{name}"),
            Self::Leader => f.write_str("engine/leader"),
            Self::Brake => f.write_str("engine/brake"),
            Self::Reboot(group) => write!(f, "reboot/{group}"),
            Self::Rollout(name) => write!(f, "rollout/{name}"),
        }
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.chars().take(120).collect());
        let parts: Vec<&str> = text.split('/').collect();
        let id = |text: &str| text.parse::<MachineId>().map_err(|_| bad());
        let name = |text: &str| text.parse::<UnitName>().map_err(|_| bad());
        match parts[..] {
            ["machines", m] => Ok(Self::Machine(id(m)?)),
            ["alive", m] => Ok(Self::Alive(id(m)?)),
            ["drain", m] => Ok(Self::Duty(id(m)?)),
            ["units", u] => Ok(Self::Unit(name(u)?)),
            ["placed", m, u] => Ok(Self::Placed(id(m)?, name(u)?)),
            ["status", m, u] => Ok(Self::Status(id(m)?, name(u)?)),
            ["engine", "leader"] => Ok(Self::Leader),
            ["engine", "brake"] => Ok(Self::Brake),
            ["rollout", u] => Ok(Self::Rollout(name(u)?)),
            ["reboot", group] => Ok(Self::Reboot(group.parse().map_err(|_| bad())?)),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_keys() {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let unit: UnitName = "web@1.container".parse().unwrap();
        let table = [
            (
                Key::Machine(id.clone()),
                "machines/0123456789abcdef0123456789abcdef",
            ),
            (
                Key::Alive(id.clone()),
                "alive/0123456789abcdef0123456789abcdef",
            ),
            (
                Key::Duty(id.clone()),
                "drain/0123456789abcdef0123456789abcdef",
            ),
            (Key::Unit(unit.clone()), "units/web@1.container"),
            (
                Key::Placed(id.clone(), unit.clone()),
                "placed/0123456789abcdef0123456789abcdef/web@1.container",
            ),
            (
                Key::Status(id.clone(), unit),
                "status/0123456789abcdef0123456789abcdef/web@1.container",
            ),
            (Key::Leader, "engine/leader"),
            (Key::Brake, "engine/brake"),
            (
                Key::Rollout("web@.service".parse().unwrap()),
                "rollout/web@.service",
            ),
            (
                Key::Reboot("eu.workers-1".parse().unwrap()),
                "reboot/eu.workers-1",
            ),
        ];
        for (key, text) in table {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse::<Key>().unwrap(), key);
        }
        assert!(Key::Alive(id.clone()).to_string().starts_with("alive/"));
        assert!(
            Key::Placed(id.clone(), "a.pod".parse().unwrap())
                .to_string()
                .starts_with(&placed_on(&id))
        );
    }

    proptest! {
        #[test]
        fn what_was_taken_as_a_key_is_written_the_same(text in "(units|placed|engine|alive|reboot)(/[a-z0-9@.]{1,32}){1,2}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
