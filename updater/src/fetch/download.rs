//! A release's file on its way: checked bytes, in order.
//!
//! Whoever writes them decides where; a download is dropped at any time and begun again further on.

use std::future::Future;

use super::FetchError;

/// A file of a release that comes piece by piece.
pub trait Download {
    /// The next bytes, at most [`formats::pieces::MAX_PIECE`], checked; `None` after the last.
    ///
    /// # Errors
    /// See [`FetchError`]. The bytes handed out before stay good: go on at [`Counted::done`].
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, FetchError>>;

    /// How far it is.
    fn counted(&self) -> Counted;
}

/// How far a download is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Of the whole file.
    pub total: u64,
    /// Handed out, what was skipped included.
    pub done: u64,
    /// Of those, cut from the running release.
    pub reused: u64,
    /// Bodies of answers, as they came over the wire: compressed, and what was thrown away too.
    pub fetched: u64,
    /// Files that the source was asked for.
    pub requests: u64,
}
