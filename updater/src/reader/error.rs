//! Why an object of a repository cannot be used.
//!
//! Every reason names the object by its path.

use crate::fetch::SourceError;

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The repository does not have it.
    #[error("{object}: not in the repository")]
    Missing {
        /// Its path.
        object: String,
    },
    /// Its content is not what its name says.
    #[error("{object}: its SHA-256 is {found}: it was altered")]
    Checksum {
        /// Its path.
        object: String,
        /// Of what came.
        found: String,
    },
    /// It is what its name says, and is not written as ostree writes it.
    #[error("{object}: expected {expected}")]
    Malformed {
        /// Its path.
        object: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A file with an owner, permissions or attributes that no piece has.
    #[error("{object}: expected a plain file of root, mode 0644, without attributes")]
    NotPlain {
        /// Its path.
        object: String,
    },
    /// It does not have the length that it should.
    #[error("{object}: expected {expected} bytes of content, found {found}")]
    Length {
        /// Its path.
        object: String,
        /// Bytes.
        expected: u64,
        /// Bytes, or more.
        found: u64,
    },
    /// The second reader's own words.
    #[error("{object}: libostree: {message}")]
    Library {
        /// Its path.
        object: String,
        /// What it says.
        message: String,
    },
}

impl ReadError {
    /// Whether the object came, and is not what it should be.
    #[must_use]
    pub const fn is_content(&self) -> bool {
        !matches!(self, Self::Source(_) | Self::Missing { .. })
    }
}
