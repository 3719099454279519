//! Moves bytes from a container's pipes into segments.
//!
//! One writer a container; it never blocks on the pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::index::{RECORD, Record, Stream};
use super::{KEEP, SEGMENT, data_path, index_path, numbers};

/// Bytes moved at once.
const CHUNK: usize = 64 << 10;
/// Chunks of one stream closer than this share a record.
const SAME_MOMENT_NS: u64 = 1_000_000;

/// What a pipe had to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// None right now.
    Nothing,
    /// No more for ever.
    End,
}

/// The one who writes.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    number: u64,
    data: File,
    index: File,
    end: u64,
    index_end: u64,
    last: Option<Record>,
    segment: u64,
    /// Read from a terminal, and not on disk yet.
    pending: Vec<u8>,
}

impl Writer {
    /// Goes on after what is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::with_segment(folder, SEGMENT)
    }

    /// With another segment size.
    pub(super) fn with_segment(folder: &Path, segment: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let number = numbers(folder)?.last().copied().unwrap_or(1);
        let (data, index) = open_files(folder, number)?;
        let end = data.metadata()?.len();
        // A record that was cut is overwritten; one that was damaged ends the index as well.
        let mut index_end = 0;
        let mut bytes = [0; RECORD];
        while index.read_exact_at(&mut bytes, index_end).is_ok() {
            match Record::decode(&bytes) {
                Some(record) if record.offset <= end => index_end += RECORD as u64,
                _ => break,
            }
        }
        index.set_len(index_end)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            number,
            data,
            index,
            end,
            index_end,
            last: None,
            segment,
            pending: Vec::new(),
        })
    }

    /// Moves what `pipe` has, at most one chunk.
    ///
    /// # Errors
    /// What the file system says, e.g. that it is full: the bytes stay in the pipe then, or with a
    /// terminal here, and this writer goes on with them when asked again.
    pub fn take(&mut self, stream: Stream, pipe: BorrowedFd<'_>, now_ns: u64) -> io::Result<Taken> {
        self.turn_over()?;
        self.announce(stream, now_ns)?;
        let mut at = self.end;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = match splice(pipe, None, &self.data, Some(&mut at), CHUNK, flags) {
            // A terminal that cannot be spliced.
            Err(Errno::INVAL) => return self.copy(pipe),
            other => other,
        };
        self.count(moved)
    }

    fn count(&mut self, moved: rustix::io::Result<usize>) -> io::Result<Taken> {
        match moved {
            // The other side of a terminal is closed: EIO instead of an end.
            Ok(0) | Err(Errno::IO) => Ok(Taken::End),
            Ok(n) => {
                self.end += n as u64;
                Ok(Taken::Bytes(n))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    fn copy(&mut self, from: BorrowedFd<'_>) -> io::Result<Taken> {
        let mut read = Ok(self.pending.len());
        if self.pending.is_empty() {
            let mut buffer = [0; 4096];
            read = rustix::io::read(from, &mut buffer);
            self.pending.extend_from_slice(&buffer[..read.unwrap_or(0)]);
        }
        self.data.write_all_at(&self.pending, self.end)?;
        self.pending.clear();
        self.count(read)
    }

    fn announce(&mut self, stream: Stream, time_ns: u64) -> io::Result<()> {
        let fits = |last: &Record| {
            let near = time_ns.saturating_sub(last.time_ns) < SAME_MOMENT_NS;
            last.stream == stream && (near || last.offset == self.end)
        };
        if self.last.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let record = Record {
            offset: self.end,
            time_ns,
            stream,
        };
        self.index.write_all_at(&record.encode(), self.index_end)?;
        self.index_end += RECORD as u64;
        self.last = Some(record);
        Ok(())
    }

    fn turn_over(&mut self) -> io::Result<()> {
        if self.end < self.segment {
            return Ok(());
        }
        (self.data, self.index) = open_files(&self.folder, self.number + 1)?;
        self.number += 1;
        (self.end, self.index_end, self.last) = (0, 0, None);
        let oldest = self.number.saturating_sub(KEEP - 1);
        for number in numbers(&self.folder)?.into_iter().filter(|n| *n < oldest) {
            let _ = std::fs::remove_file(data_path(&self.folder, number));
            let _ = std::fs::remove_file(index_path(&self.folder, number));
        }
        Ok(())
    }
}

fn open_files(folder: &Path, number: u64) -> io::Result<(File, File)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    // The index first: data without one would be taken for standard output.
    let index = options.open(index_path(folder, number))?;
    Ok((options.open(data_path(folder, number))?, index))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_was_read_from_a_terminal_outlives_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        // As a terminal, a socket cannot be spliced into a file.
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(b"a line\n").unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut writer.data, full);
        let refused = writer.take(Stream::Stdout, ours.as_fd(), 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        writer.data = disk;
        let taken = writer.take(Stream::Stdout, ours.as_fd(), 2).unwrap();
        assert_eq!(taken, Taken::Bytes(7));
        let data = std::fs::read(data_path(folder.path(), 1)).unwrap();
        assert_eq!(data, b"a line\n");
    }
}
