//! What is to be done on the ESP, as a list of steps: decided before the first byte is written.
//!
//! It touches nothing. Whatever prefix of a plan is carried out, the loader finds a release that
//! boots; the properties in the tests say so.

use super::name::UkiName;
use super::slots::{File, Slot, Slots};
use formats::digest::Sha256;
use formats::version::Version;

/// One step; each is on the disk before the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Remove a file that is neither running nor good.
    Remove(String),
    /// Write the release under a name that the loader does not look at.
    Write {
        /// The file.
        name: String,
        /// Bytes.
        length: u64,
    },
    /// Read it back from the disk itself: its hash, and that its `.osrel` says what it is.
    Verify {
        /// The file.
        name: String,
        /// What it has to be.
        release: Wanted,
    },
    /// Give a file another name. Not atomic on FAT: a cut leaves either name, both, or none.
    Rename {
        /// Its name.
        from: String,
        /// Its name afterwards.
        to: String,
    },
}

/// A release that is to be staged, from its verified manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its version.
    pub version: Version,
    /// Bytes of its UKI.
    pub length: u64,
    /// Of its UKI.
    pub sha256: Sha256,
}

/// Room on the ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of a cluster.
    pub cluster: u64,
    /// Clusters of the file system.
    pub total: u64,
    /// Clusters that are free.
    pub free: u64,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Booted from elsewhere, e.g. over the network.
    #[error(
        "the running release {0} is not on this ESP: an update could not return to it; install to this disk first"
    )]
    NotFromHere(Version),
    /// The ESP cannot hold it, even when tidied up.
    #[error(
        "the ESP has {free} MiB free for a release of {need} MiB, after everything that may be removed: make it larger"
    )]
    NoSpace {
        /// MiB, rounded up.
        need: u64,
        /// MiB, rounded down.
        free: u64,
    },
    /// The host has no such release.
    #[error("release {0} is not on the ESP; see `skeg update status`")]
    Absent(Version),
    /// There would be nothing to boot.
    #[error("there is no other release on the ESP that was found good: nothing to return to")]
    NothingElse,
    /// It runs, or is being tried.
    #[error("release {0} runs: there is nothing to stage")]
    Runs(Version),
}

const MIB: u64 = 1 << 20;
/// Clusters that a folder may grow by while one name is added.
const FOLDER: u64 = 2;

impl Space {
    /// Clusters of a file.
    #[must_use]
    pub fn clusters(&self, length: u64) -> u64 {
        length.div_ceil(self.cluster.max(1))
    }

    fn bytes(&self, clusters: u64) -> u64 {
        clusters.saturating_mul(self.cluster)
    }
}

/// Stages a release: makes room, writes, reads back, and only then gives it a name that boots.
///
/// # Errors
/// [`Refusal`], before anything is removed.
pub fn stage(slots: &Slots, space: Space, wanted: &Wanted) -> Result<Vec<Step>, Refusal> {
    if slots.running().is_none() {
        return Err(Refusal::NotFromHere(slots.running));
    }
    if wanted.version == slots.running {
        return Err(Refusal::Runs(wanted.version));
    }
    let mut removed = slots.garbage(wanted.version);
    // Never written over: a name that booted once keeps its clusters until it is removed.
    let same = slots
        .releases
        .iter()
        .filter(|s| s.uki.version == wanted.version);
    removed.extend(same.map(|slot| File {
        name: slot.file.clone(),
        length: slot.length,
    }));
    let freed: u64 = removed.iter().map(|f| space.clusters(f.length)).sum();
    let (free, need) = (space.free + freed, space.clusters(wanted.length) + FOLDER);
    if need > free {
        return Err(Refusal::NoSpace {
            need: space.bytes(need).div_ceil(MIB),
            free: space.bytes(free) / MIB,
        });
    }
    let uki = UkiName::blessed(&slots.product, wanted.version);
    let partial = uki.partial();
    let mut steps: Vec<Step> = removed.into_iter().map(|f| Step::Remove(f.name)).collect();
    steps.push(Step::Write {
        name: partial.clone(),
        length: wanted.length,
    });
    steps.push(Step::Verify {
        name: partial.clone(),
        release: wanted.clone(),
    });
    steps.push(Step::Rename {
        from: partial,
        to: uki.on_trial().to_string(),
    });
    Ok(steps)
}

/// Takes the counter from the running release: it was found good.
#[must_use]
pub fn bless(slots: &Slots) -> Vec<Step> {
    let counted = slots.running().filter(|slot| slot.uki.counter.is_some());
    let to = |slot: &Slot| UkiName::blessed(&slot.uki.product, slot.uki.version);
    counted.map_or_else(Vec::new, |slot| rename(slot, &to(slot)))
}

/// Puts a release behind every other. It is not removed.
///
/// # Errors
/// [`Refusal::NothingElse`] when the loader would find only exhausted entries.
pub fn deny(slots: &Slots, version: Version) -> Result<Vec<Step>, Refusal> {
    let slot = slots.find(version).ok_or(Refusal::Absent(version))?;
    let good = |other: &Slot| other.uki.counter.is_none() && other.uki.version != version;
    if !slots.releases.iter().any(good) {
        return Err(Refusal::NothingElse);
    }
    let exhausted = slot.uki.counter.is_some_and(|c| c.left == 0);
    Ok(if exhausted {
        Vec::new()
    } else {
        rename(slot, &slot.uki.denied())
    })
}

/// Makes a version that lies on the ESP the next to boot: newer ones go behind it, and it is tried
/// anew if it was put behind itself.
///
/// # Errors
/// [`Refusal`].
pub fn prefer(slots: &Slots, version: Version) -> Result<Vec<Step>, Refusal> {
    let slot = slots.find(version).ok_or(Refusal::Absent(version))?;
    let exhausted = slot.uki.counter.is_some_and(|c| c.left == 0);
    // First it, then the others: at each moment something with tries is there.
    let mut steps = match exhausted {
        true => rename(slot, &slot.uki.on_trial()),
        false => Vec::new(),
    };
    for other in slots.releases.iter().filter(|s| s.uki.version > version) {
        if other.uki.counter.is_none_or(|c| c.left > 0) {
            steps.extend(rename(other, &other.uki.denied()));
        }
    }
    Ok(steps)
}

fn rename(slot: &Slot, to: &UkiName) -> Vec<Step> {
    vec![Step::Rename {
        from: slot.file.clone(),
        to: to.to_string(),
    }]
}

#[cfg(test)]
mod tests;
