//! From chunks to lines: each stream's lines are put together by themselves.
//!
//! A line has the time of its first byte. One that is too long is cut.

use std::io;
use std::path::Path;

use super::Stream;
use super::read::{Chunk, Reader};

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

/// Lets the last lines of a log through. It counts them first, and holds none.
#[derive(Debug)]
pub struct Tail {
    skip: u64,
    take: Option<u64>,
}

impl Tail {
    /// Counts the lines of `folder` from `since_ns` on, to let the last `limit` through; and what comes
    /// after them, when the log is followed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn measure(folder: &Path, since_ns: u64, limit: u64, follow: bool) -> io::Result<Self> {
        let mut reader = Reader::new(folder);
        let (mut lines, mut count) = (Lines::default(), 0);
        let mut whole = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            lines.push(&chunk, &mut whole);
            count += whole.drain(..).filter(|l| l.time_ns >= since_ns).count() as u64;
        }
        if !follow {
            lines.finish(&mut whole);
            count += whole.len() as u64;
        }
        Ok(Self {
            skip: count.saturating_sub(limit),
            take: (!follow).then_some(limit.min(count)),
        })
    }

    /// Leaves of `lines`, which come next, those that are wanted.
    pub fn filter(&mut self, lines: &mut Vec<Chunk>) {
        lines.retain(|_| {
            if self.skip > 0 {
                self.skip -= 1;
                return false;
            }
            match &mut self.take {
                None => true,
                Some(0) => false,
                Some(left) => {
                    *left -= 1;
                    true
                }
            }
        });
    }
}
