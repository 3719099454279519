//! Where releases come from, as the daemon sees it: looked for, then read from the first byte to the
//! last.
//!
//! What is behind it has verified everything that it hands over.

use crate::esp::plan::Wanted;
use formats::version::Version;
use std::path::Path;

/// Whether, and why, a release is denied.
pub type Denied<'a> = dyn Fn(Version) -> Option<String> + 'a;

/// Repositories of releases.
pub trait Releases: Send + Sync {
    /// The newest release that this host may take; `None`: none that is newer.
    ///
    /// # Errors
    /// A sentence, for people.
    fn look(&self, running: Version, denied: &Denied<'_>) -> Result<Option<Wanted>, String>;

    /// Opens the release that was found; `base` is the UKI that runs, to be cut from.
    ///
    /// # Errors
    /// A sentence, for people.
    fn open(&self, wanted: &Wanted, base: &Path) -> Result<Box<dyn Bytes>, String>;
}

/// A release on its way.
pub trait Bytes {
    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// A sentence, for people.
    fn next(&mut self) -> Result<Option<Vec<u8>>, String>;

    /// Bytes that came over the wire so far.
    fn fetched(&self) -> u64;
}

/// Of a host that was told of none.
#[derive(Debug)]
pub struct Nowhere;

impl Releases for Nowhere {
    fn look(&self, _: Version, _: &Denied<'_>) -> Result<Option<Wanted>, String> {
        Err(format!(
            "{}: no source of releases",
            formats::update::CONFIG
        ))
    }

    fn open(&self, _: &Wanted, _: &Path) -> Result<Box<dyn Bytes>, String> {
        Err(format!(
            "{}: no source of releases",
            formats::update::CONFIG
        ))
    }
}
