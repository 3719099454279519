//! Why a release's file cannot be put together.
//!
//! What was handed out before stays good: each piece was checked.

use formats::manifest::Role;

use crate::reader::ReadError;

/// Why a release's file cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The repository.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The commit has no pieces of this file.
    #[error("commit {commit}: no folder of pieces of the {role:?}")]
    NoFile {
        /// The commit.
        commit: String,
        /// The file.
        role: Role,
    },
    /// The commit's pieces are none.
    #[error("commit {commit}: {message}")]
    Pieces {
        /// The commit.
        commit: String,
        /// What is wrong.
        message: String,
    },
    /// Each piece is what the commit says, and together they are not what the manifest says.
    #[error("the {role:?}: expected SHA-256 {expected}, found {found}")]
    Hash {
        /// The file.
        role: Role,
        /// By the manifest.
        expected: String,
        /// Of what was put together.
        found: String,
    },
    /// Nobody can go on from there.
    #[error("go on at byte {0}: expected the beginning of a piece")]
    Offset(u64),
}
