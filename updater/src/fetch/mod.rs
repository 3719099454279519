//! Fetching: a release's files, put together from the running UKI and from what a source has.
//!
//! Nothing is handed on that was not checked against the release that `trust` verified.

mod assembly;
mod base;
mod download;
mod error;
mod folder;
mod http;
mod look;
mod mirrors;
mod source;

pub use assembly::Assembly;
pub use base::Base;
pub use download::{Counted, Download};
pub use error::FetchError;
pub use folder::FolderSource;
pub use http::{HttpSource, Settings};
pub use look::{Look, LookError, look};
pub use mirrors::{Mirror, Mirrors};
pub use source::{Source, SourceError};
