//! From chunks to lines: each stream's lines are put together by themselves.
//!
//! A line has the time of its first byte. One that is too long is cut.

use std::collections::VecDeque;

use super::Stream;
use super::read::Chunk;

/// No line is longer.
const LONGEST: usize = 64 << 10;

/// Puts lines together.
#[derive(Debug, Default)]
pub struct Lines {
    open: [Option<(u64, Vec<u8>)>; 2],
}

impl Lines {
    /// Takes a chunk; whole lines go to `out`, with their newline.
    pub fn push(&mut self, chunk: &Chunk, out: &mut impl Extend<Chunk>) {
        let slot = &mut self.open[usize::from(chunk.stream == Stream::Stderr)];
        for piece in chunk.bytes.split_inclusive(|b| *b == b'\n') {
            let (time_ns, mut line) = slot.take().unwrap_or((chunk.time_ns, Vec::new()));
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= LONGEST {
                out.extend([Chunk {
                    stream: chunk.stream,
                    time_ns,
                    bytes: line,
                }]);
            } else {
                *slot = Some((time_ns, line));
            }
        }
    }

    /// Lines that have no end yet, standard output's first.
    pub fn finish(&mut self, out: &mut impl Extend<Chunk>) {
        for (slot, stream) in self.open.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            out.extend(slot.take().map(|(time_ns, bytes)| Chunk {
                stream,
                time_ns,
                bytes,
            }));
        }
    }
}

/// The last `limit` of what it is given.
#[derive(Debug)]
pub struct Tail {
    limit: usize,
    kept: VecDeque<Chunk>,
}

impl Tail {
    /// Keeps so many.
    pub fn new(limit: u64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            kept: VecDeque::new(),
        }
    }

    /// What was kept.
    pub fn into_lines(self) -> VecDeque<Chunk> {
        self.kept
    }
}

impl Extend<Chunk> for Tail {
    fn extend<T: IntoIterator<Item = Chunk>>(&mut self, lines: T) {
        for line in lines {
            self.kept.push_back(line);
            while self.kept.len() > self.limit {
                self.kept.pop_front();
            }
        }
    }
}
