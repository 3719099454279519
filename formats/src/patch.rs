//! Patches: a piece told as differences to an older file, as bsdiff does, for one piece at a time.
//!
//! ```text
//! count       u32, little-endian, as all numbers
//! count ×     old: u32 offset in the old file, add: u32, insert: u32
//! Σ add       bytes to add, modulo 256, to those of the old file
//! Σ insert    bytes as they are
//! ```
//!
//! The output is `add` then `insert` bytes of each step. Not compressed: ostree's archive does that.

/// Steps that a patch may have.
const MAX_STEPS: usize = 64 << 10;

/// What to take from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Offset in the old file.
    pub old: u32,
    /// Bytes to take from there, with differences added.
    pub add: u32,
    /// Bytes to take from the patch after them.
    pub insert: u32,
}

/// Why a patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Cut short, or longer than it says.
    #[error("patch: expected {expected} bytes, found {found}")]
    Torn {
        /// By its steps.
        expected: u64,
        /// In the file.
        found: u64,
    },
    /// It makes more or less than the piece has.
    #[error("patch: it expands to {found} bytes, the piece has {expected}")]
    Length {
        /// The piece's.
        expected: u64,
        /// The steps' sum.
        found: u64,
    },
    /// It takes bytes that the old file does not have.
    #[error("patch: takes {length} bytes at {at} of a file that has fewer: it is for another")]
    Base {
        /// Offset in the old file.
        at: u64,
        /// Bytes.
        length: u64,
    },
}

/// Writes a patch.
#[must_use]
pub fn write(steps: &[Step], add: &[u8], insert: &[u8]) -> Vec<u8> {
    let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let mut bytes = count.to_le_bytes().to_vec();
    for step in steps {
        for number in [step.old, step.add, step.insert] {
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes.extend(add);
    bytes.extend(insert);
    bytes
}

/// Applies a patch for a piece of `length` bytes. `read` fills a buffer from an offset of the old file,
/// and says whether the file reaches that far.
///
/// # Errors
/// See [`PatchError`]. Nothing is expanded before its length is known to be right.
pub fn apply(
    patch: &[u8],
    length: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Result<Vec<u8>, PatchError> {
    let (steps, rest) = parse(patch, length)?;
    let added: usize = steps.iter().map(|step| step.add as usize).sum();
    let (mut add, mut insert) = rest.split_at(added);
    let mut out = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    for step in steps {
        let from = out.len();
        out.resize(from + step.add as usize, 0);
        if step.add > 0 && !read(u64::from(step.old), &mut out[from..]) {
            let (at, length) = (u64::from(step.old), u64::from(step.add));
            return Err(PatchError::Base { at, length });
        }
        let (now, later) = add.split_at(step.add as usize);
        for (byte, by) in out[from..].iter_mut().zip(now) {
            *byte = byte.wrapping_add(*by);
        }
        add = later;
        let (now, later) = insert.split_at(step.insert as usize);
        out.extend(now);
        insert = later;
    }
    Ok(out)
}

fn parse(patch: &[u8], length: u64) -> Result<(Vec<Step>, &[u8]), PatchError> {
    let torn = |expected: u64| PatchError::Torn {
        expected,
        found: patch.len() as u64,
    };
    let (count, rest) = patch.split_first_chunk().ok_or_else(|| torn(4))?;
    let count = u32::from_le_bytes(*count) as usize;
    let head = 4 + count as u64 * 12;
    if count > MAX_STEPS || patch.len() as u64 - 4 < count as u64 * 12 {
        return Err(torn(head));
    }
    let (table, rest) = rest.split_at(count * 12);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
    let steps: Vec<_> = table
        .chunks_exact(12)
        .map(|step| Step {
            old: number(&step[..4]),
            add: number(&step[4..8]),
            insert: number(&step[8..]),
        })
        .collect();
    let made = steps.iter().map(|s| u64::from(s.add) + u64::from(s.insert));
    let found = made.sum();
    if found != length {
        let expected = length;
        return Err(PatchError::Length { expected, found });
    }
    if rest.len() as u64 != found {
        return Err(torn(head + found));
    }
    Ok((steps, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &[u8] = b"the old file";
    const STEP: Step = Step {
        old: 4,
        add: 3,
        insert: 2,
    };

    fn on_old(patch: &[u8], length: u64) -> Result<Vec<u8>, PatchError> {
        let mut read = |at: u64, buffer: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            let found = OLD.get(at..at + buffer.len());
            found.is_some_and(|found| {
                buffer.copy_from_slice(found);
                true
            })
        };
        apply(patch, length, &mut read)
    }

    #[test]
    fn golden_bytes() {
        let patch = write(&[STEP], &[0, 0, 255], b"!!");
        let bytes = b"\x01\0\0\0\x04\0\0\0\x03\0\0\0\x02\0\0\0\0\0\xff!!";
        assert_eq!(patch, bytes);
        assert_eq!(on_old(&patch, 5).unwrap(), b"olc!!");
    }

    #[test]
    fn a_patch_never_makes_more_than_its_piece_nor_reads_beyond_its_base() {
        let patch = write(&[STEP], &[0; 3], b"!!");
        let (expected, found) = (4, 5);
        assert_eq!(
            on_old(&patch, 4),
            Err(PatchError::Length { expected, found })
        );
        let far = write(&[Step { old: 10, ..STEP }], &[0; 3], b"!!");
        assert_eq!(on_old(&far, 5), Err(PatchError::Base { at: 10, length: 3 }));
        let endless = write(
            &[Step {
                add: u32::MAX,
                ..STEP
            }; 9],
            &[],
            b"",
        );
        assert!(matches!(
            on_old(&endless, 5),
            Err(PatchError::Length { .. })
        ));
    }

    #[test]
    fn a_torn_patch_is_refused_at_every_length() {
        let patch = write(&[STEP], &[0; 3], b"!!");
        for length in 0..patch.len() {
            let torn = on_old(&patch[..length], 5);
            assert!(matches!(torn, Err(PatchError::Torn { .. })), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..400) {
            let _ = on_old(&bytes, length);
        }
    }
}
