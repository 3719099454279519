//! Finds the differences of new bytes to old ones, for [`formats::patch`].
//!
//! Programs that were built again differ by addresses all over: so a match goes on over bytes that
//! differ as long as most do not (Colin Percival, "Naive differences of executable code", 2003).

use formats::patch::{self, Step};

/// Bytes that must be equal for a match to begin.
const SEED: usize = 16;
/// A match ends when it is this much worse than it was at its best.
const PATIENCE: i64 = 64;

/// Where each run of bytes of an old file lies, by hash: the last one of equal hash.
pub struct Index<'a> {
    old: &'a [u8],
    table: Vec<u32>,
    bits: u32,
}

impl<'a> Index<'a> {
    /// Indexes an old file. Takes four to eight bytes of memory for each of it.
    #[must_use]
    pub fn of(old: &'a [u8]) -> Self {
        let bits = old.len().max(2).next_power_of_two().ilog2().clamp(8, 26);
        let mut index = Self {
            old,
            table: vec![u32::MAX; 1 << bits],
            bits,
        };
        for (at, window) in old.windows(SEED).enumerate() {
            let slot = index.slot(window);
            index.table[slot] = u32::try_from(at).unwrap_or(u32::MAX);
        }
        index
    }

    fn slot(&self, window: &[u8]) -> usize {
        let half = |at: usize| {
            let bytes = window[at..at + 8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let mixed = half(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ half(8).rotate_left(29);
        (mixed.wrapping_mul(0xff51_afd7_ed55_8ccd) >> (64 - self.bits)) as usize
    }

    /// Where the next [`SEED`] bytes lie in the old file.
    fn find(&self, new: &[u8]) -> Option<usize> {
        let window = new.get(..SEED)?;
        let at = self.table[self.slot(window)] as usize;
        (self.old.get(at..at.checked_add(SEED)?) == Some(window)).then_some(at)
    }

    /// A patch that makes `new` of the old file; `near` is where it most likely lay.
    #[must_use]
    pub fn patch(&self, new: &[u8], near: usize) -> Vec<u8> {
        let (mut steps, mut add, mut insert) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut old) = (0, near.min(self.old.len()));
        while at < new.len() {
            let length = forward(&self.old[old..], &new[at..]);
            let pairs = new[at..at + length].iter().zip(&self.old[old..]);
            add.extend(pairs.map(|(new, old)| new.wrapping_sub(*old)));
            let from = at + length;
            let (next, next_old) = self.next_match(new, from, old + length);
            insert.extend(&new[from..next]);
            steps.push(Step {
                old: small(old),
                add: small(length),
                insert: small(next - from),
            });
            (at, old) = (next, next_old);
        }
        patch::write(&steps, &add, &insert)
    }

    /// The next place from `from` on that begins a match, moved back over what nearly matches.
    fn next_match(&self, new: &[u8], from: usize, expected: usize) -> (usize, usize) {
        for at in from..new.len() {
            // Where the old file would go on: costs nothing to try, and is right for a replaced run.
            let straight = expected + (at - from);
            let seed = new.get(at..at + SEED);
            let here = seed.is_some() && self.old.get(straight..straight + SEED) == seed;
            let found = if here {
                Some(straight)
            } else {
                self.find(&new[at..])
            };
            if let Some(old) = found {
                let back = backward(&self.old[..old], &new[from..at]);
                return (at - back, old - back);
            }
        }
        (new.len(), 0)
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How far it is good to go on: where equal bytes exceed others by most.
fn forward(old: &[u8], new: &[u8]) -> usize {
    best(old.iter().zip(new))
}

fn backward(old: &[u8], new: &[u8]) -> usize {
    best(old.iter().rev().zip(new.iter().rev()))
}

fn best<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut score, mut top, mut length) = (0i64, 0i64, 0);
    for (index, (old, new)) in pairs.enumerate() {
        score += if old == new { 1 } else { -1 };
        if score > top {
            (top, length) = (score, index + 1);
        } else if score < top - PATIENCE {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(old: &[u8], new: &[u8]) -> (Vec<u8>, usize) {
        let patch = Index::of(old).patch(new, 0);
        let mut read = |at: u64, buffer: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            buffer.copy_from_slice(&old[at..at + buffer.len()]);
            true
        };
        let made = patch::apply(&patch, new.len() as u64, &mut read).unwrap();
        let weight = patch.iter().filter(|byte| **byte != 0).count();
        (made, weight)
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn moved_and_slightly_changed_bytes_weigh_next_to_nothing() {
        let old = noise(1, 100_000);
        let mut new = noise(2, 50);
        new.extend(&old[30_000..90_000]);
        new.extend(&old[..30_000]);
        // An address in every few instructions.
        for at in (0..new.len()).step_by(23) {
            new[at] = new[at].wrapping_add(16);
        }
        let (made, weight) = applied(&old, &new);
        assert_eq!(made, new);
        assert!(weight < 90_000 / 20, "{weight}");
    }

    #[test]
    fn unrelated_bytes_are_told_as_they_are() {
        for (old, new) in [(0, 0), (0, 10), (10, 0), (5000, 3000), (15, 17)] {
            let (old, new) = (noise(3, old), noise(4, new));
            assert_eq!(applied(&old, &new).0, new);
        }
    }
}
