//! One layer: a compressed file becomes an unpacked folder, or nothing.
//!
//! The compression is told by the first bytes, whatever the media type says, as Docker does. The
//! folder may be used only if this returned without an error: the digest is known at the end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::digest::{DiffId, Hasher};
use super::unpack::{self, Limits, UnpackError, Unpacked};

/// How a layer's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Tells the compression by a file's first bytes.
    #[must_use]
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Decompresses and unpacks `file` into the empty folder `root`, and verifies that the uncompressed
/// stream is `diff_id`.
///
/// # Errors
/// See [`UnpackError`]. The folder must then be thrown away.
pub fn extract(
    file: File,
    root: &Path,
    diff_id: &DiffId,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let mut input = BufReader::with_capacity(128 << 10, file);
    let start = input.fill_buf().map_err(UnpackError::Stream)?;
    let stream: Box<dyn Read> = match Compression::of(start) {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(UnpackError::Stream)?)
        }
    };
    let verified = Verified {
        stream,
        hasher: diff_id.hasher(),
        seen: 0,
        limits: *limits,
    };
    let (mut verified, unpacked) = unpack::unpack(verified, root, limits)?;
    verified.drain()?;
    let got = verified.hasher.finish();
    if got != *diff_id {
        return Err(UnpackError::DiffId {
            expected: diff_id.clone(),
            got,
        });
    }
    Ok(unpacked)
}

/// Counts and hashes what is read through it.
struct Verified {
    stream: Box<dyn Read>,
    hasher: Hasher,
    seen: u64,
    limits: Limits,
}

impl Verified {
    /// Reads what follows the archive's end: it belongs to the digest.
    fn drain(&mut self) -> Result<(), UnpackError> {
        let mut waste = vec![0; 64 << 10];
        loop {
            match self.read(&mut waste) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.downcast().unwrap_or_else(UnpackError::Stream)),
            }
        }
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.seen += n as u64;
        if self.seen > self.limits.uncompressed {
            let limit = self.limits.uncompressed;
            return Err(io::Error::other(UnpackError::TooLarge { limit }));
        }
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}
