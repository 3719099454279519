//! `reboot/<group>`: which machines of a group may reboot now.
//!
//! A group that nobody spoke of has one slot and nobody in it. Values only: who asks, and when, is told.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Machines with a slot that are remembered at most, and slots that a group has at most.
pub const MOST_SLOTS: u32 = 1000;

/// A group's name (fleet_lock: `[a-zA-Z0-9.-]+`), 128 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RebootGroup(String);

/// A text that names no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a group of letters, digits, dots and dashes, at most 128, found {0:?}")]
pub struct BadGroup(String);

impl FromStr for RebootGroup {
    type Err = BadGroup;

    fn from_str(text: &str) -> Result<Self, BadGroup> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadGroup(text.chars().take(80).collect()))
    }
}

impl fmt::Display for RebootGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group's slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootRecord {
    /// So many may reboot at once; none while it is 0.
    pub slots: u32,
    /// Who has a slot, and since when (Unix seconds).
    pub holders: BTreeMap<String, u64>,
}

impl Default for RebootRecord {
    fn default() -> Self {
        Self {
            slots: 1,
            holders: BTreeMap::new(),
        }
    }
}

/// All slots are taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("all {slots} slots are taken, the longest by {owner} for {age} s")]
pub struct Full {
    /// So many there are.
    pub slots: u32,
    /// Who has had one for longest.
    pub owner: String,
    /// Seconds.
    pub age: u64,
}

impl RebootRecord {
    /// Takes a slot; whoever has one keeps it, and its age. `true` if something changed.
    ///
    /// # Errors
    /// All are taken.
    pub fn take(&mut self, id: &str, now: u64) -> Result<bool, Full> {
        if self.holders.contains_key(id) {
            return Ok(false);
        }
        if self.holders.len() < self.slots as usize {
            self.holders.insert(id.to_owned(), now);
            return Ok(true);
        }
        let oldest = self.holders.iter().min_by_key(|(_, since)| **since);
        Err(Full {
            slots: self.slots,
            owner: oldest.map_or_else(|| "nobody".to_owned(), |(id, _)| id.clone()),
            age: oldest.map_or(0, |(_, since)| now.saturating_sub(*since)),
        })
    }

    /// Gives a slot back. `true` if something changed.
    pub fn give(&mut self, id: &str) -> bool {
        self.holders.remove(id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_machine_s_until_it_gives_it_back() {
        let mut group = RebootRecord::default();
        assert_eq!(group.take("a", 100), Ok(true));
        assert_eq!(group.take("a", 200), Ok(false), "it may ask again");
        let full = group.take("b", 160).unwrap_err();
        assert_eq!((full.owner.as_str(), full.age), ("a", 60));
        assert!(!group.give("b"));
        assert!(group.give("a"));
        assert_eq!(group.take("b", 170), Ok(true));
        group.slots = 0;
        assert!(group.give("b"));
        assert!(
            group
                .take("b", 180)
                .unwrap_err()
                .to_string()
                .contains("nobody")
        );
    }

    #[test]
    fn golden_record() {
        let mut group = RebootRecord::default();
        group.take("m1", 7).unwrap();
        let golden = r#"{"slots":1,"holders":{"m1":7}}"#;
        assert_eq!(serde_json::to_string(&group).unwrap(), golden);
        assert_eq!(serde_json::from_str::<RebootRecord>(golden).unwrap(), group);
    }

    #[test]
    fn a_group_cannot_leave_its_key() {
        assert!("workers.eu-1".parse::<RebootGroup>().is_ok());
        for text in ["", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(text.parse::<RebootGroup>().is_err(), "{text}");
        }
    }
}
