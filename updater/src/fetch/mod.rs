//! Fetching: a release's files, put together from the running UKI and from what a source has.
//!
//! Nothing is handed on that was not checked against the release that `trust` verified.

mod download;
mod source;

pub use download::{Counted, Download};
pub use source::{FetchError, Source};
