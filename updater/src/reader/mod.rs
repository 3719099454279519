//! The reader of ostree's archive format: commits, folders and files, each checked by its checksum.
//!
//! Reads what a signed manifest names, and nothing else; never writes a repository. What a folder's or
//! a file's owner and permissions would be is of no use here, so only one form of them is read.

mod archive;
mod error;
mod file;
#[cfg(feature = "libostree")]
pub mod oracle;
mod tree;
mod variant;

pub use archive::{Archive, Entry, Reader};
pub use error::ReadError;
pub use file::checksum;
