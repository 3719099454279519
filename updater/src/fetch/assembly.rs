//! Puts a release's file together, piece by piece: from the running UKI what it has, the rest from the
//! repository.
//!
//! Holds one piece at a time, and writes nothing.

use std::collections::HashMap;

use formats::digest::{Hex, Sha256};
use formats::manifest::{File, Role};
use formats::pieces::{self, MAX_PIECE, MAX_PIECES};
use sha2::Digest;

use super::{Base, Counted, Download, FetchError};
use crate::reader::{Archive, Entry, ReadError, checksum};
use crate::trust::VerifiedRelease;

/// A patch has its piece's bytes and twelve for each step; beyond this it pays no more.
const MAX_PATCH: u64 = MAX_PIECE + (256 << 10);

#[derive(Debug, Clone, Copy)]
struct Piece {
    at: u64,
    length: u64,
    object: Sha256,
}

/// A file on its way.
pub struct Assembly<A> {
    archive: A,
    base: Option<Base>,
    pieces: std::vec::IntoIter<Piece>,
    /// Object and length of the patch for the piece at an offset.
    patches: HashMap<u64, (Sha256, u64)>,
    file: File,
    counted: Counted,
    /// Of all bytes, when all are handed out.
    hash: Option<sha2::Sha256>,
}

impl<A: Archive> Assembly<A> {
    /// Begins with a release's file at byte `from`: 0, or [`Counted::done`] of a download that ended
    /// early. Only a whole one is checked against the manifest's SHA-256; whoever goes on checks what
    /// was written.
    ///
    /// # Errors
    /// When the repository lacks the list of pieces, or it is none.
    pub async fn begin(
        mut archive: A,
        release: &VerifiedRelease,
        role: Role,
        base: Option<Base>,
        from: u64,
    ) -> Result<Self, FetchError> {
        let commit = release.commit();
        let none = || FetchError::NoFile {
            commit: commit.to_string(),
            role,
        };
        let file = release.file(role).ok_or_else(none)?.clone();
        let folders = archive.folders(&commit).await?;
        let folder = find(&folders, role.folder()).ok_or_else(none)?;
        let mut pieces = layout(&commit, &archive.files(&folder).await?, file.length)?;
        let mut patches = HashMap::new();
        if let Some(base) = &base {
            let name = pieces::patch_folder(role.folder(), base.sha256());
            if let Some(folder) = find(&folders, &name) {
                patches = offered(&archive.files(&folder).await?);
            }
        }
        let skipped = pieces.iter().take_while(|piece| piece.at < from).count();
        pieces.drain(..skipped);
        if pieces.first().map_or(file.length, |piece| piece.at) != from {
            return Err(FetchError::Offset(from));
        }
        Ok(Self {
            archive,
            base,
            pieces: pieces.into_iter(),
            patches,
            counted: Counted {
                total: file.length,
                done: from,
                ..Counted::default()
            },
            hash: (from == 0).then(sha2::Sha256::new),
            file,
        })
    }

    /// Bytes of the file that the running UKI lacks, before they are compressed.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        let base = self.base.as_ref();
        let pieces = self.pieces.as_slice().iter();
        let lacking = pieces.filter(|piece| !base.is_some_and(|base| base.has(&piece.object)));
        lacking.map(|piece| piece.length).sum()
    }

    fn local(&self, piece: &Piece) -> Option<Vec<u8>> {
        self.base.as_ref()?.piece(&piece.object, piece.length)
    }

    /// The piece by its patch, if one is offered. A patch that does not make the piece is no reason to
    /// stay without: the whole piece is fetched then.
    async fn patched(&mut self, piece: &Piece) -> Result<Option<Vec<u8>>, FetchError> {
        let (Some(base), Some((object, length))) = (&self.base, self.patches.get(&piece.at)) else {
            return Ok(None);
        };
        let patch = match self.archive.content(object, *length).await {
            Err(ReadError::Source(error)) => return Err(ReadError::Source(error).into()),
            Err(_) => return Ok(None),
            Ok(patch) => patch,
        };
        let made = base.patched(&patch, piece.length).ok();
        Ok(made.filter(|bytes| checksum(bytes) == piece.object))
    }

    fn end(&mut self) -> Result<(), FetchError> {
        let Some(hash) = self.hash.take() else {
            return Ok(());
        };
        let found: Sha256 = Hex(hash.finalize().into());
        if found == self.file.sha256 {
            return Ok(());
        }
        Err(FetchError::Hash {
            role: self.file.role,
            expected: self.file.sha256.to_string(),
            found: found.to_string(),
        })
    }
}

impl<A: Archive> Download for Assembly<A> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        let Some(piece) = self.pieces.as_slice().first().copied() else {
            self.end()?;
            return Ok(None);
        };
        let bytes = match self.local(&piece) {
            Some(bytes) => {
                self.counted.reused += piece.length;
                bytes
            }
            None => match self.patched(&piece).await? {
                Some(bytes) => bytes,
                None => self.archive.content(&piece.object, piece.length).await?,
            },
        };
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes);
        }
        self.counted.done += piece.length;
        // Taken off only now, so that an error leaves it to be tried again.
        self.pieces.next();
        Ok(Some(bytes))
    }

    fn counted(&self) -> Counted {
        let asked = self.archive.asked();
        Counted {
            fetched: asked.fetched,
            requests: asked.requests,
            ..self.counted
        }
    }
}

fn find(entries: &[Entry], name: &str) -> Option<Sha256> {
    let found = entries.iter().find(|entry| entry.name == name);
    found.map(|entry| entry.object)
}

/// Patches by the offset of their piece; those of no use are left out.
fn offered(entries: &[Entry]) -> HashMap<u64, (Sha256, u64)> {
    let patch = |entry: &Entry| {
        let (at, length) = pieces::patch_offset(&entry.name)?;
        (length <= MAX_PATCH).then_some((at, (entry.object, length)))
    };
    entries.iter().filter_map(patch).collect()
}

/// The pieces of a file of `length` bytes, in order and without gaps.
fn layout(commit: &Sha256, entries: &[Entry], length: u64) -> Result<Vec<Piece>, FetchError> {
    let bad = |message: String| FetchError::Pieces {
        commit: commit.to_string(),
        message,
    };
    if entries.len() > MAX_PIECES {
        return Err(bad(format!("expected at most {MAX_PIECES} pieces")));
    }
    let mut pieces = Vec::with_capacity(entries.len());
    let mut end = length;
    for entry in entries.iter().rev() {
        let at = pieces::offset(&entry.name);
        let piece = at.and_then(|at| Some((at, end.checked_sub(at)?)));
        let (at, length) = piece
            .filter(|(_, length)| (1..=MAX_PIECE).contains(length))
            .ok_or_else(|| {
                let name = &entry.name;
                bad(format!(
                    "piece {name:?}: expected an offset of at most 1 MiB before {end}"
                ))
            })?;
        end = at;
        let object = entry.object;
        pieces.push(Piece { at, length, object });
    }
    if end != 0 {
        return Err(bad("expected a piece at offset 0".to_owned()));
    }
    pieces.reverse();
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| Entry {
            name: (*name).to_owned(),
            object: Hex([0; 32]),
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn pieces_lie_one_after_the_other_from_the_first_byte_to_the_last() {
        let commit = Hex([0; 32]);
        let pieces = layout(&commit, &entries(&["00000000", "00000010"]), 24).unwrap();
        let places: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.at, piece.length))
            .collect();
        assert_eq!(places, [(0, 16), (16, 8)]);
        for (names, length) in [
            (&["00000001"][..], 24),
            (&[], 24),
            (&["00000000"], 2 << 20),
            (&["00000000", "00000018"], 24),
            (&["00000000", "00000010", "00000010"], 24),
            (&["00000000", "x"], 24),
        ] {
            assert!(
                layout(&commit, &entries(names), length).is_err(),
                "{names:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_names_make_it_panic(names in prop::collection::vec("[0-9a-f]{7,9}", 0..20), length: u64) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let _ = layout(&Hex([0; 32]), &entries(&names), length);
        }
    }
}
