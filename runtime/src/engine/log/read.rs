//! Reads segments from the oldest on, also while they are written.
//!
//! Changes nothing. At the end it says so, and goes on from there when asked again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::index::{RECORD, Record, Stream};
use super::{data_path, index_path, numbers};

const CHUNK: u64 = 32 << 10;
/// Told in place of what is not there any more.
pub(super) const GAP: &[u8] =
    b"\nskeg: output is missing here: it was written faster than it was read\n";

/// Bytes of one stream that came at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Whose.
    pub stream: Stream,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// What it wrote.
    pub bytes: Vec<u8>,
}

/// A place in the log.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    segment: Option<Segment>,
    fell_behind: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    data: File,
    index: Option<File>,
    index_at: u64,
    at: u64,
    current: Record,
    next: Option<Record>,
}

impl Reader {
    /// Begins at the oldest segment.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            segment: None,
            fell_behind: false,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// A reader that the writer has overtaken says so in a line of its own on standard error.
    ///
    /// # Errors
    /// What the file system says.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if std::mem::take(&mut self.fell_behind) {
                return Ok(self.segment.as_ref().map(Segment::gap));
            }
            if self.segment.is_none() {
                self.segment = self.open_after(0)?;
            }
            let Some(segment) = &mut self.segment else {
                return Ok(None);
            };
            if let Some(chunk) = segment.next_chunk()? {
                return Ok(Some(chunk));
            }
            let number = segment.number;
            let Some(next) = self.open_after(number)? else {
                return Ok(None);
            };
            // The writer had finished this segment before it made the next: look once more.
            if let Some(chunk) = self
                .segment
                .as_mut()
                .map(Segment::next_chunk)
                .transpose()?
                .flatten()
            {
                return Ok(Some(chunk));
            }
            self.fell_behind = next.number > number + 1;
            self.segment = Some(next);
        }
    }

    /// Leaves out all that is there by now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn skip_to_end(&mut self) -> io::Result<()> {
        let last = match numbers(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            other => other?.pop(),
        };
        let Some(last) = last else {
            return Ok(());
        };
        let mut segment = Segment::open(&self.folder, last)?;
        segment.skip_to_end()?;
        self.segment = Some(segment);
        Ok(())
    }

    fn open_after(&self, number: u64) -> io::Result<Option<Segment>> {
        let found = match numbers(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        for number in found.into_iter().filter(|n| *n > number) {
            match Segment::open(&self.folder, number) {
                // It has just been turned over.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }
}

impl Segment {
    fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let data = File::open(data_path(folder, number))?;
        let index = File::open(index_path(folder, number)).ok();
        let modified = data.metadata()?.mtime();
        Ok(Self {
            number,
            data,
            index,
            index_at: 0,
            at: 0,
            current: Record {
                offset: 0,
                time_ns: u64::try_from(modified).unwrap_or(0) * 1_000_000_000,
                stream: Stream::Stdout,
            },
            next: None,
        })
    }

    fn skip_to_end(&mut self) -> io::Result<()> {
        self.at = self.data.metadata()?.len();
        loop {
            self.next = self.next.or_else(|| self.read_record());
            match self.next {
                Some(next) if next.offset <= self.at => {
                    self.current = next;
                    self.next = None;
                }
                _ => return Ok(()),
            }
        }
    }

    /// What stands for the output that was gone before it was read.
    fn gap(&self) -> Chunk {
        Chunk {
            stream: Stream::Stderr,
            time_ns: self.current.time_ns,
            bytes: GAP.to_vec(),
        }
    }

    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        // The length first: whatever it covers has been announced in the index by then.
        let length = self.data.metadata()?.len();
        loop {
            if self.next.is_none() {
                self.next = self.read_record();
            }
            let end = self.next.map_or(length, |next| next.offset.min(length));
            if self.at < end {
                let mut bytes = vec![0; (end - self.at).min(CHUNK) as usize];
                self.data.read_exact_at(&mut bytes, self.at)?;
                self.at += bytes.len() as u64;
                return Ok(Some(Chunk {
                    stream: self.current.stream,
                    time_ns: self.current.time_ns,
                    bytes,
                }));
            }
            match self.next {
                Some(next) if next.offset <= self.at => {
                    self.current = next;
                    self.next = None;
                }
                _ => return Ok(None),
            }
        }
    }

    fn read_record(&mut self) -> Option<Record> {
        let mut bytes = [0; RECORD];
        self.index
            .as_ref()?
            .read_exact_at(&mut bytes, self.index_at)
            .ok()?;
        let record = Record::decode(&bytes)?;
        self.index_at += RECORD as u64;
        Some(record)
    }
}
