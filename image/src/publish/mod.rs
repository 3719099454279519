//! Publishes releases: an ostree repository in archive mode with signed documents beside it, for any
//! server of plain files.
//!
//! A reader never sees half a release: objects come first, then the manifest, and the channel's
//! document by rename last. A release, once there, is never changed.

mod difference;
mod documents;
pub mod keys;
mod release;
mod store;

pub use documents::{Change, Clock, Publisher};
pub use release::{Release, prune, release};

use std::io;
use std::path::PathBuf;

use formats::signed::FormatError;
use formats::version::Version;

/// Why something cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What libostree says.
    #[error("ostree: {0}")]
    Ostree(#[from] ostree::glib::Error),
    /// No key, or none that one can sign with.
    #[error("{path}: {message}")]
    Key {
        /// The file or folder.
        path: PathBuf,
        /// What was expected.
        message: String,
    },
    /// Too few of the root's keys are here.
    #[error("{what}: {found} of its keys are here, {needed} must sign")]
    TooFewKeys {
        /// The role.
        what: &'static str,
        /// How many are here.
        found: usize,
        /// The threshold.
        needed: u32,
    },
    /// A release never changes.
    #[error("{0} is published already, with other content: a release never changes")]
    Taken(Version),
    /// Nothing of that name.
    #[error("{what} is not in the repository: {hint}")]
    Absent {
        /// What.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The release is not for this channel, or would lead back.
    #[error("{0}")]
    Refused(String),
}
