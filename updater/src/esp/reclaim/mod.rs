//! What a cut has left on the ESP, taken away before it is mounted writable: clusters of no file, a
//! second name of one file, half a staging.
//!
//! FAT32 only. A volume that contradicts itself in any other way is left as it is, and said so. It
//! never writes into a cluster of a file, nor into the chain of one.

mod folders;
mod table;
#[cfg(test)]
mod tests;

use super::device::once_free;
use super::name::{Kind, UkiName};
use folders::{Found, walk};
use formats::name::Name;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use table::{Chain, Table};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Clusters that no file had.
    pub clusters: usize,
    /// Names that were taken away: of a file that has another one, or of half a staging.
    pub names: usize,
}

impl Reclaimed {
    /// Whether anything was leaked.
    #[must_use]
    pub fn is_something(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Reclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clusters, names } = self;
        write!(
            f,
            "{clusters} clusters of no file given back, {names} names taken away"
        )
    }
}

/// Why a volume is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReclaimError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not FAT32, or larger than is looked through.
    #[error("not looked through: {0}")]
    Format(&'static str),
    /// Two files share a cluster, and are not two names of one release.
    #[error("{0} shares clusters with another file: repair it with fsck.vfat")]
    Shared(String),
}

/// One write, in bytes from the volume's start.
type Write = (u64, Vec<u8>);

/// What is to be written: names first, then the tables, then the marks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    names: Vec<Write>,
    tables: Vec<Write>,
    marks: Vec<Write>,
    done: Reclaimed,
}

/// Looks through a volume that is not mounted, and takes away what nobody has.
///
/// # Errors
/// [`ReclaimError`]; but for a failing write, nothing was written then.
pub fn reclaim(device: &Path, product: &Name) -> Result<Reclaimed, ReclaimError> {
    // Never while somebody has it mounted (open(2): `O_EXCL` on a block device).
    let alone = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or_default();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(alone);
    let file = once_free(|| options.open(device))?;
    let plan = plan(&file, product)?;
    for writes in [&plan.names, &plan.tables, &plan.marks] {
        for (at, bytes) in writes {
            file.write_all_at(bytes, *at)?;
        }
        // A name is gone before its clusters are free.
        if !writes.is_empty() {
            file.sync_all()?;
        }
    }
    Ok(plan.done)
}

fn plan(file: &File, product: &Name) -> Result<Plan, ReclaimError> {
    let mut table = Table::read(file)?;
    let found = walk(file, &table)?;
    let doomed = doomed(&found, product);
    let mut owners: BTreeMap<u32, &Found> = BTreeMap::new();
    for entry in found.iter().filter(|entry| !doomed.contains(&entry.at)) {
        for cluster in table.chain(entry.start).clusters {
            if owners.insert(cluster, entry).is_some() {
                return Err(ReclaimError::Shared(entry.name.clone()));
            }
        }
    }
    let mut plan = Plan::default();
    for entry in found.iter().filter(|entry| doomed.contains(&entry.at)) {
        // The first byte of each of its entries: free.
        plan.names
            .extend(entry.slots.iter().map(|at| (*at, vec![0xe5])));
        plan.done.names += 1;
    }
    plan.done.clusters = table.free_all_but(|cluster| owners.contains_key(&cluster));
    plan.tables = table.writes();
    plan.marks = table.marks();
    Ok(plan)
}

/// Names to be taken away, by where their entry lies: stagings whose chain is torn, releases of which a
/// removal was cut, and of two names of one release with one beginning the one that is worth less.
fn doomed(found: &[Found], product: &Name) -> Vec<u64> {
    let mut doomed = Vec::new();
    let mut seen: BTreeMap<u32, (UkiName, u64)> = BTreeMap::new();
    let ours = found.iter().filter(|entry| entry.folder == "EFI/LINUX");
    let is_good = |entry: &&Found| {
        let blessed =
            matches!(Kind::of(&entry.name, product), Kind::Uki(uki) if uki.counter.is_none());
        blessed && entry.start != 0 && entry.chain != Chain::Torn
    };
    let has_good = ours.clone().any(|entry| is_good(&entry));
    for entry in ours {
        match Kind::of(&entry.name, product) {
            // Nothing loads it, and its clusters would be given to another file.
            Kind::Uki(_) if entry.chain == Chain::Torn && has_good => doomed.push(entry.at),
            Kind::Partial if entry.chain != Chain::Whole => doomed.push(entry.at),
            Kind::Uki(uki) if entry.start != 0 => {
                let Some((other, at)) = seen.get(&entry.start).cloned() else {
                    seen.insert(entry.start, (uki, entry.at));
                    continue;
                };
                if other.version != uki.version {
                    continue;
                }
                // Blessed, or else the one that was counted further.
                let worth = |name: &UkiName| name.counter.map_or(-1, |c| i64::from(c.left));
                if worth(&uki) < worth(&other) {
                    doomed.push(at);
                    seen.insert(entry.start, (uki, entry.at));
                } else {
                    doomed.push(entry.at);
                }
            }
            Kind::Partial | Kind::Uki(_) | Kind::Foreign => {}
        }
    }
    doomed
}
