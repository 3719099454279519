//! Where a repository's files come from: a server, or a folder.
//!
//! A source is not trusted: it may give anything, at any length, at any speed, or nothing.

use std::future::Future;
use std::io;

use super::Counted;

/// A place that has the files of a repository (see [`formats::repository`]).
pub trait Source {
    /// A whole file of at most `limit` bytes; `None` where there is none of that name.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn get(
        &mut self,
        path: &str,
        limit: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, SourceError>>;

    /// What it was asked so far: its `fetched` and `requests`.
    fn asked(&self) -> Counted;
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Longer than it may be.
    #[error("{place}: expected at most {limit} bytes: it does not end")]
    TooLong {
        /// The file.
        place: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// A folder cannot be read.
    #[error("read {place}: {source}")]
    Io {
        /// The file.
        place: String,
        /// Why.
        source: io::Error,
    },
}
