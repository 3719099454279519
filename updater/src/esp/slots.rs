//! The slots as a value: which releases lie on the ESP, which one runs, which one the loader would
//! take next.
//!
//! It reads no file; names and lengths are handed in.

use super::name::{Kind, UkiName};
use formats::name::Name;
use formats::version::Version;

/// A file of `EFI/Linux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub length: u64,
}

/// A release on the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub uki: UkiName,
    /// The file's name as it is, which may differ in case.
    pub file: String,
    /// Bytes.
    pub length: u64,
}

/// What lies in `EFI/Linux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// What this host is.
    pub product: Name,
    /// The release that runs.
    pub running: Version,
    /// Releases, the newest first; of one version, the blessed name first.
    pub releases: Vec<Slot>,
    /// Remains of a staging.
    pub partial: Vec<File>,
}

impl Slots {
    /// Sorts files into what they are; foreign ones are left out.
    #[must_use]
    pub fn of(product: &Name, running: Version, files: Vec<File>) -> Self {
        let mut slots = Self {
            product: product.clone(),
            running,
            releases: Vec::new(),
            partial: Vec::new(),
        };
        for file in files {
            match Kind::of(&file.name, product) {
                Kind::Uki(uki) => slots.releases.push(Slot {
                    uki,
                    file: file.name,
                    length: file.length,
                }),
                Kind::Partial => slots.partial.push(file),
                Kind::Foreign => {}
            }
        }
        let place = |slot: &Slot| {
            let left = slot.uki.counter.map_or(u32::MAX, |counter| counter.left);
            (
                std::cmp::Reverse((slot.uki.version, left)),
                slot.file.clone(),
            )
        };
        slots.releases.sort_by_key(place);
        slots
    }

    /// The file of a version.
    #[must_use]
    pub fn find(&self, version: Version) -> Option<&Slot> {
        self.releases.iter().find(|s| s.uki.version == version)
    }

    /// The file that runs; none when the host was booted from elsewhere.
    #[must_use]
    pub fn running(&self) -> Option<&Slot> {
        self.find(self.running)
    }

    /// Whether the release that runs still has to be found good.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.running()
            .is_some_and(|slot| slot.uki.counter.is_some())
    }

    /// The newest release besides the running one that was found good.
    #[must_use]
    pub fn last_good(&self) -> Option<&Slot> {
        let good = |slot: &&Slot| slot.uki.counter.is_none() && slot.uki.version != self.running;
        self.releases.iter().find(good)
    }

    /// What may be removed to make room: all but what runs, what was good last, and `wanted`.
    #[must_use]
    pub fn garbage(&self, wanted: Version) -> Vec<File> {
        let good = self.last_good().map(|slot| slot.uki.version);
        // By version: two names of one release, after a torn rename, may share its clusters.
        let kept = [Some(self.running), good, Some(wanted)];
        let spare = |slot: &&Slot| !kept.contains(&Some(slot.uki.version));
        let spare = self.releases.iter().filter(spare).map(|slot| File {
            name: slot.file.clone(),
            length: slot.length,
        });
        self.partial.iter().cloned().chain(spare).collect()
    }

    /// What the loader takes at the next boot (systemd-boot: exhausted entries last, then the newest).
    #[must_use]
    pub fn next_boot(&self) -> Option<&Slot> {
        let exhausted = |slot: &&Slot| slot.uki.counter.is_some_and(|c| c.left == 0);
        let fresh = self.releases.iter().find(|slot| !exhausted(slot));
        fresh.or_else(|| self.releases.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(running: &str, names: &[&str]) -> Slots {
        let file = |name: &&str| File {
            name: (*name).to_owned(),
            length: 10,
        };
        let files = names.iter().map(file).collect();
        Slots::of(&"skeg".parse().unwrap(), running.parse().unwrap(), files)
    }

    fn next(running: &str, names: &[&str]) -> String {
        slots(running, names).next_boot().unwrap().file.clone()
    }

    #[test]
    fn the_loader_takes_the_newest_with_tries_as_was_seen_in_qemu() {
        let old = "skeg_1.0.0.efi";
        for (newest, taken) in [
            ("skeg_2.0.0+3.efi", true),
            ("skeg_2.0.0+1-2.efi", true),
            ("skeg_2.0.0.efi", true),
            ("skeg_2.0.0+0-3.efi", false),
        ] {
            let expected = if taken { newest } else { old };
            assert_eq!(next("1.0.0", &[old, newest]), expected);
        }
        assert_eq!(next("1.0.0", &["skeg_1.0.0+0-3.efi"]), "skeg_1.0.0+0-3.efi");
    }

    #[test]
    fn neither_what_runs_nor_what_was_good_last_is_garbage() {
        let names = [
            "skeg_1.0.0.efi",
            "skeg_1.1.0.efi",
            "skeg_1.2.0.efi",
            "skeg_1.3.0+0-3.efi",
            "skeg_1.4.0.new",
            "windows.efi",
        ];
        let garbage = |running: &str| -> Vec<String> {
            let slots = slots(running, &names);
            let garbage = slots.garbage("1.4.0".parse().unwrap());
            garbage.into_iter().map(|file| file.name).collect()
        };
        let rest = ["skeg_1.4.0.new", "skeg_1.3.0+0-3.efi", "skeg_1.0.0.efi"];
        assert_eq!(garbage("1.2.0"), rest);
        // On trial or rolled back: the good ones stay.
        assert_eq!(
            garbage("1.3.0"),
            ["skeg_1.4.0.new", "skeg_1.1.0.efi", "skeg_1.0.0.efi"]
        );
        assert_eq!(
            garbage("1.0.0"),
            ["skeg_1.4.0.new", "skeg_1.3.0+0-3.efi", "skeg_1.1.0.efi"]
        );
    }

    #[test]
    fn a_host_knows_whether_it_is_on_trial() {
        assert!(slots("1.1.0", &["skeg_1.0.0.efi", "skeg_1.1.0+2-1.efi"]).is_trial());
        assert!(!slots("1.0.0", &["skeg_1.0.0.efi", "skeg_1.1.0+2-1.efi"]).is_trial());
        // A torn rename left both names: it was blessed.
        assert!(!slots("1.1.0", &["skeg_1.1.0.efi", "skeg_1.1.0+2-1.efi"]).is_trial());
        assert!(slots("1.5.0", &["skeg_1.0.0.efi"]).running().is_none());
    }
}
