//! Why a layer cannot be unpacked. Every text names the entry it stopped at.

use std::io;

use super::super::digest::Digest;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The compressed stream is broken, or the file cannot be read.
    #[error("cannot decompress: {0}")]
    Stream(#[source] io::Error),
    /// The tar format is broken.
    #[error("not a tar archive at byte {offset}: {what}")]
    Malformed {
        /// Where in the uncompressed stream.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// An entry whose name leaves the root, or that cannot be a name.
    #[error("entry `{path}`: {what}")]
    Entry {
        /// The entry's name.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The kernel refused an operation.
    #[error("{operation} `{path}`: {source}")]
    Io {
        /// The system call, in words.
        operation: &'static str,
        /// The entry's name.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// More bytes than allowed come out of the decompressor or would be written.
    #[error("unpacks to more than {limit} bytes: refused as a decompression bomb")]
    TooLarge {
        /// The configured limit.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("has more than {limit} entries: refused")]
    TooMany {
        /// The configured limit.
        limit: u64,
    },
    /// The file system would be filled.
    #[error("no space: {free} bytes are free and {reserve} must stay so")]
    NoSpace {
        /// Bytes free now.
        free: u64,
        /// Bytes that a layer may not take.
        reserve: u64,
    },
    /// The file system would run out of inodes.
    #[error("no space: {free} more files fit and {reserve} must stay possible")]
    NoInodes {
        /// Files that can still be made.
        free: u64,
        /// How many a layer may not take.
        reserve: u64,
    },
    /// The uncompressed stream is not what the image's configuration promises.
    #[error("unpacked content: expected {expected}, got {got}")]
    DiffId {
        /// As the configuration says.
        expected: Digest,
        /// As it is.
        got: Digest,
    },
}

impl UnpackError {
    pub(super) fn entry(path: &[u8], what: impl Into<String>) -> Self {
        Self::Entry {
            path: shown(path),
            what: what.into(),
        }
    }

    pub(super) fn io(operation: &'static str, path: &[u8], error: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: shown(path),
            source: error.into(),
        }
    }
}

/// A name as it may be printed: lossy, escaped, and not endless.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(&path[..path.len().min(256)]);
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
