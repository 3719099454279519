//! A service's output: one pipe for its life, drained into a bounded file, line by line to the journal.
//!
//! PID 1 holds both ends, so a crash loses no line and a restart needs no new pipe.

use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A log file is moved aside (`.1`) when it has grown to this; two are kept.
pub const MOST_BYTES: u64 = 1 << 20;
/// No line is taken as longer when it is looked at.
const LONGEST_LINE: usize = 1024;

/// One service's log.
#[derive(Debug)]
pub struct Log {
    reader: File,
    writer: OwnedFd,
    path: PathBuf,
    file: Option<File>,
    written: u64,
    line: Vec<u8>,
}

impl Log {
    /// Makes the pipe, and appends to the file of an earlier run.
    ///
    /// # Errors
    /// As pipe(2). A file that cannot be opened loses the lines, not the service.
    pub fn open(folder: &Path, service: &str) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let path = folder.join(format!("{service}.log"));
        let file = open_to_append(&path).ok();
        let written = file
            .as_ref()
            .and_then(|f| f.metadata().ok())
            .map_or(0, |m| m.len());
        let line = Vec::with_capacity(LONGEST_LINE);
        Ok(Self {
            reader: reader.into(),
            writer,
            path,
            file,
            written,
            line,
        })
    }

    /// The end that PID 1 waits on.
    #[must_use]
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// The end that becomes the service's standard output and error.
    #[must_use]
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Moves what has come into the file, a bounded amount at a time; `heard` gets each line with its
    /// priority.
    pub fn drain(&mut self, mut heard: impl FnMut(u8, &str)) {
        let mut buffer = [0u8; 4096];
        for _ in 0..16 {
            match self.reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    self.append(&buffer[..length]);
                    self.scan(&buffer[..length], &mut heard);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.written >= MOST_BYTES {
            let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            self.file = None;
            self.written = 0;
        }
        // Where there was no room for a file there may be some now.
        if self.file.is_none() {
            self.file = open_to_append(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
            self.written += bytes.len() as u64;
        }
    }

    fn scan(&mut self, bytes: &[u8], heard: &mut impl FnMut(u8, &str)) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let (priority, text) = &prioritized(&self.line);
            heard(*priority, &String::from_utf8_lossy(text));
            self.line.clear();
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A line's priority and text: marked as sd-daemon(3) has it, `<0>` to `<7>`, or 6; a panic is an error
/// whatever its mark.
fn prioritized(line: &[u8]) -> (u8, &[u8]) {
    let (priority, text) = match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
        _ => (6, line),
    };
    let panicked = text.windows(11).any(|window| window == b"panicked at");
    (if panicked { priority.min(3) } else { priority }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pour(log: &Log, bytes: &[u8]) {
        rustix::io::write(log.writer(), bytes).unwrap();
    }

    #[test]
    fn every_line_is_in_the_file_and_passed_on_with_its_priority() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), "engine").unwrap();
        let mut heard = Vec::new();
        pour(&log, b"plain\n<3>disk is fu");
        log.drain(|level, line| heard.push((level, line.to_owned())));
        pour(
            &log,
            b"ll\n<7>detail\nthread 'main' panicked at x\n<9>odd\n",
        );
        log.drain(|level, line| heard.push((level, line.to_owned())));
        let texts = [
            "plain",
            "disk is full",
            "detail",
            "thread 'main' panicked at x",
            "<9>odd",
        ];
        let expected = [6, 3, 7, 3, 6].into_iter().zip(texts.map(str::to_owned));
        assert_eq!(heard, expected.collect::<Vec<_>>());
        let text = fs::read_to_string(folder.path().join("engine.log")).unwrap();
        assert!(text.starts_with("plain\n<3>disk is full\n"));
    }

    #[test]
    fn a_file_that_could_not_be_made_is_made_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let mut log = Log::open(&later, "engine").unwrap();
        pour(&log, b"lost\n");
        log.drain(|_, _| ());
        fs::create_dir(&later).unwrap();
        pour(&log, b"kept\n");
        log.drain(|_, _| ());
        assert_eq!(
            fs::read_to_string(later.join("engine.log")).unwrap(),
            "kept\n"
        );
    }

    #[test]
    fn a_service_that_writes_for_ever_fills_two_files_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), "noisy").unwrap();
        for _ in 0..4 * MOST_BYTES / 4096 {
            pour(&log, &[b'x'; 4096]);
            log.drain(|_, _| ());
        }
        let total: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= 2 * MOST_BYTES + 4096, "{total}");
        assert!(folder.path().join("noisy.log.1").exists());
    }
}
