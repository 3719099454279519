//! The running release's UKI as a source of pieces: cut like a new one, so equal parts are found.
//!
//! Never trusted: what is cut from it is checked again when it is used.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use formats::digest::{Hex, Sha256};
use formats::patch::{self, PatchError};
use formats::pieces;
use sha2::Digest;

use crate::reader::checksum;

/// A file whose pieces are known.
#[derive(Debug)]
pub struct Base {
    file: File,
    sha256: Sha256,
    /// Offset and length by checksum.
    pieces: HashMap<Sha256, (u64, u64)>,
}

impl Base {
    /// Cuts a file and remembers its pieces. Reads the whole file once: about a second for each 200 MB.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let lengths = pieces::cut(length, &mut |at, buffer| file.read_exact_at(buffer, at))?;
        let mut known = HashMap::new();
        let mut hash = sha2::Sha256::new();
        let (mut at, mut buffer) = (0, Vec::new());
        for length in lengths {
            read(&file, at, length, &mut buffer)?;
            hash.update(&buffer);
            known.insert(checksum(&buffer), (at, length));
            at += length;
        }
        Ok(Self {
            file,
            sha256: Hex(hash.finalize().into()),
            pieces: known,
        })
    }

    /// The piece, when the file has it still.
    pub(super) fn piece(&self, object: &Sha256, length: u64) -> Option<Vec<u8>> {
        let (at, found) = *self.pieces.get(object)?;
        let mut buffer = Vec::new();
        read(&self.file, at, found, &mut buffer).ok()?;
        (found == length && checksum(&buffer) == *object).then_some(buffer)
    }

    /// Of the whole file: which release it is.
    pub(super) const fn sha256(&self) -> &Sha256 {
        &self.sha256
    }

    /// Makes a piece of `length` bytes by a patch.
    pub(super) fn patched(&self, patch: &[u8], length: u64) -> Result<Vec<u8>, PatchError> {
        patch::apply(patch, length, &mut |at, buffer| {
            self.file.read_exact_at(buffer, at).is_ok()
        })
    }

    /// Whether the file had the piece when it was opened.
    pub(super) fn has(&self, object: &Sha256) -> bool {
        self.pieces.contains_key(object)
    }
}

fn read(file: &File, at: u64, length: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    // A piece is at most `MAX_PIECE`, so its length fits.
    buffer.resize(usize::try_from(length).unwrap_or(0), 0);
    file.read_exact_at(buffer, at)
}
