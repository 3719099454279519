//! The firmware's boot order as a value: what is there, what should be, what has to be written.
//!
//! A file that cannot be loaded does not make the firmware fall back to the last good release: it goes
//! on to its next entry. So there are as many entries as a release has tries, and one more, all naming
//! the loader, which counts down each time. Entries of others are kept, behind ours.

use super::entry::description;
use std::collections::BTreeMap;

/// What our entries are called, with a number behind it: some firmware drops equal ones.
pub const NAME: &str = "Skeg";

/// `Boot####` and `BootOrder`, as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Entries by number.
    pub options: BTreeMap<u16, Vec<u8>>,
    /// Numbers in the order of their tries.
    pub order: Vec<u16>,
}

/// One variable to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `Boot####`.
    Option(u16, Vec<u8>),
    /// `BootOrder`.
    Order(Vec<u16>),
}

impl Entries {
    /// Whether the order begins with all of these entries.
    #[must_use]
    pub fn has(&self, wanted: &[Vec<u8>]) -> bool {
        let first = self.order.iter().take(wanted.len());
        let first: Vec<_> = first.filter_map(|n| self.options.get(n)).collect();
        first.len() == wanted.len() && wanted.iter().all(|w| first.contains(&w))
    }

    /// What makes these entries the first ones. The order is written last, so that it never names what
    /// is not there; numbers of ours are used again.
    #[must_use]
    pub fn plan(&self, wanted: &[Vec<u8>]) -> Vec<Change> {
        if self.has(wanted) {
            return Vec::new();
        }
        let ours = |bytes: &[u8]| description(bytes).starts_with(NAME);
        let own: Vec<u16> = self
            .options
            .iter()
            .filter(|(_, b)| ours(b))
            .map(|(n, _)| *n)
            .collect();
        let free = (0..=u16::MAX).filter(|n| !self.options.contains_key(n));
        let mut numbers = own.clone().into_iter().chain(free);
        let mut order = Vec::new();
        let mut changes = Vec::new();
        for bytes in wanted {
            let Some(number) = numbers.next() else { break };
            if self.options.get(&number) != Some(bytes) {
                changes.push(Change::Option(number, bytes.clone()));
            }
            order.push(number);
        }
        let others = self.order.iter().filter(|n| !own.contains(n));
        order.extend(others.copied());
        changes.push(Change::Order(order));
        changes
    }

    /// With a change made.
    #[must_use]
    pub fn with(mut self, change: &Change) -> Self {
        match change {
            Change::Option(number, bytes) => drop(self.options.insert(*number, bytes.clone())),
            Change::Order(order) => self.order.clone_from(order),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esp::device::Partition;
    use crate::firmware::entry::load_option;
    use proptest::prelude::*;

    fn wanted() -> Vec<Vec<u8>> {
        let partition = Partition {
            device: "/dev/vda1".into(),
            guid: [1; 16],
            number: 1,
            start: 2048,
            blocks: 4096,
        };
        let entry = |n| {
            load_option(
                &format!("{NAME} {n}"),
                &partition,
                "\\EFI\\BOOT\\BOOTX64.EFI",
            )
        };
        (1..=4).map(entry).collect()
    }

    fn done(entries: &Entries) -> Entries {
        let changes = entries.plan(&wanted());
        changes.iter().fold(entries.clone(), Entries::with)
    }

    #[test]
    fn entries_are_made_once_and_those_of_others_stay_behind() {
        let other = load_other();
        let before = Entries {
            options: [(0, other.clone()), (2, other.clone())].into(),
            order: vec![2, 0],
        };
        let after = done(&before);
        assert_eq!(after.order, [1, 3, 4, 5, 2, 0]);
        assert_eq!(after.options[&2], other);
        assert!(after.has(&wanted()));
        assert!(after.plan(&wanted()).is_empty());
    }

    fn load_other() -> Vec<u8> {
        [&[1, 0, 0, 0, 0, 0][..], b"O\0t\0h\0e\0r\0\0\0"].concat()
    }

    #[test]
    fn a_firmware_that_dropped_some_gets_them_again_under_the_same_numbers() {
        let mut entries = done(&Entries::default());
        entries.options.remove(&1);
        entries.order = vec![0, 2];
        assert!(!entries.has(&wanted()));
        let again = done(&entries);
        assert!(again.has(&wanted()));
        assert_eq!(again.options.len(), 4);
    }

    proptest! {
        #[test]
        fn the_order_never_names_what_is_not_there(cut in 0usize..6, own in 0u16..6, others in 0u16..4) {
            let entry = |n: u16| (n, wanted()[usize::from(n) % 4].clone());
            let mut before = Entries { options: (0..own).map(entry).collect(), order: (0..own).collect() };
            for n in 10..10 + others {
                before.options.insert(n, load_other());
                before.order.push(n);
            }
            let changes = before.plan(&wanted());
            let partly = changes.iter().take(cut).fold(before, Entries::with);
            prop_assert!(partly.order.iter().all(|n| partly.options.contains_key(n)));
            prop_assert!(done(&partly).has(&wanted()));
        }
    }
}
