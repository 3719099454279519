//! A container's output on disk: append-only segments that a kill at any moment leaves whole.
//!
//! Never parses what a container writes, and never holds it in memory to write it.
//!
//! **Scheme.** A segment is two files: `N.log`, the bytes of both streams as they came, and `N.idx`,
//! records of 24 bytes: offset, time, stream, checksum. A record is written *before* the bytes that it
//! announces: "from this offset on, until the next record or the end of the file, this stream". The
//! bytes then move from the pipe to that offset by one `splice(2)`, which takes from the pipe what it
//! has put into the file. So the file's length is the truth, and the engine may be killed
//! - before the record: the bytes are still in the pipe, which PID 1 holds too;
//! - after the record: it announces nothing yet, and the next engine writes another at that offset;
//! - after the splice: all is on disk.
//!
//! Nothing is lost or doubled by a kill. After a power cut the index may be shorter or longer than the
//! data: a torn record is dropped by its checksum, bytes without a record count as standard output.
//! Segments turn over by size, at a chunk's border; the oldest goes. Lines are found when read.

pub mod follow;
mod index;
pub mod lines;
pub mod read;
pub mod write;

use std::path::{Path, PathBuf};

pub use index::Stream;

/// Bytes of a segment, after which the next one begins.
pub const SEGMENT: u64 = 8 << 20;
/// Segments that are kept.
pub const KEEP: u64 = 3;

fn data_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

fn index_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.idx"))
}

/// Numbers of the segments in a folder, rising.
fn numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".log"));
        found.extend(number.and_then(|n| n.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
