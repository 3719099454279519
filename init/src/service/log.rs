//! A service's output: one pipe for its life, drained into a bounded file; urgent lines go on.
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
const LONGEST_LINE: usize = 512;

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

    /// Moves what has come into the file, a bounded amount at a time; `urgent` gets the lines that
    /// people at the console should see.
    pub fn drain(&mut self, mut urgent: impl FnMut(&str)) {
        let mut buffer = [0u8; 4096];
        for _ in 0..16 {
            match self.reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    self.append(&buffer[..length]);
                    self.scan(&buffer[..length], &mut urgent);
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

    fn scan(&mut self, bytes: &[u8], urgent: &mut impl FnMut(&str)) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            if let Some(text) = urgent_text(&String::from_utf8_lossy(&self.line)) {
                urgent(text);
            }
            self.line.clear();
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The text of a line that is marked as a warning or worse (sd-daemon(3): `<4>` to `<0>`), or that
/// tells of a panic.
fn urgent_text(line: &str) -> Option<&str> {
    let (level, text) = match line.strip_prefix('<').and_then(|l| l.split_once('>')) {
        Some((level, text)) => (level.parse().unwrap_or(7u8), text),
        None => (7, line),
    };
    (level <= 4 || text.contains("panicked at")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pour(log: &Log, bytes: &[u8]) {
        rustix::io::write(log.writer(), bytes).unwrap();
    }

    #[test]
    fn every_line_is_in_the_file_and_urgent_ones_are_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), "engine").unwrap();
        let mut urgent = Vec::new();
        pour(&log, b"plain\n<3>disk is fu");
        log.drain(|line| urgent.push(line.to_owned()));
        pour(&log, b"ll\n<6>info\nthread 'main' panicked at x\n");
        log.drain(|line| urgent.push(line.to_owned()));
        assert_eq!(urgent, ["disk is full", "thread 'main' panicked at x"]);
        let text = fs::read_to_string(folder.path().join("engine.log")).unwrap();
        assert!(text.starts_with("plain\n<3>disk is full\n"));
    }

    #[test]
    fn a_file_that_could_not_be_made_is_made_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let mut log = Log::open(&later, "engine").unwrap();
        pour(&log, b"lost\n");
        log.drain(|_| ());
        fs::create_dir(&later).unwrap();
        pour(&log, b"kept\n");
        log.drain(|_| ());
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
            log.drain(|_| ());
        }
        let total: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= 2 * MOST_BYTES + 4096, "{total}");
        assert!(folder.path().join("noisy.log.1").exists());
    }
}
