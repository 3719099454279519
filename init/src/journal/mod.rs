//! The journal: what kernel, PID 1 and services say, in batches onto STATE; `skeg logs -b -1` reads it.
//!
//! PID 1 itself never writes to the disk: a copy of it does, which may hang for ever; one at a time.

pub mod batch;
pub mod crash;
pub mod kernel;
pub mod segments;

use crate::clock::{Moment, epoch_ns, now};
use crate::report::Report;
use batch::micros;
use formats::journal::{Header, Line};
use rustix::fs::SeekFrom;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::reap::Ended;

/// Who writes, and where.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    header: Header,
    kmsg: Option<OwnedFd>,
    writer: Option<u32>,
    /// The first write of a boot looks for a crash before it.
    first: bool,
}

impl Journal {
    /// A journal of this boot in `folder`, for an image of this os-release.
    #[must_use]
    pub fn new(folder: PathBuf, os_release: &str, kmsg: Option<OwnedFd>) -> Self {
        let version = os_release
            .lines()
            .find_map(|line| line.strip_prefix("IMAGE_VERSION="));
        let version = version.unwrap_or_default().trim_matches('"');
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let word = |text: &str| match text.trim() {
            text if text.is_empty() || text.contains(' ') => "-".to_owned(),
            text => text.to_owned(),
        };
        Self {
            folder,
            header: Header {
                boot: word(&boot),
                version: word(version),
            },
            kmsg,
            writer: None,
            first: true,
        }
    }

    /// The kernel's log, to be waited on.
    #[must_use]
    pub fn kmsg(&self) -> Option<BorrowedFd<'_>> {
        self.kmsg.as_ref().map(AsFd::as_fd)
    }

    /// Whether a write is under way.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// Begins to write what waits.
    pub fn start(&mut self, report: &Report, at: Moment) {
        let mut batch = report.batch();
        let copy = sys::reap::run_in_copy(|| self.write(batch.waiting()));
        batch.start();
        match copy {
            Ok(pid) => self.writer = Some(pid),
            Err(_) => batch.end(false, at),
        }
    }

    /// A child has ended; true when it was the one that wrote.
    pub fn ended(&mut self, pid: u32, ended: Ended, report: &mut Report) -> bool {
        if self.writer != Some(pid) {
            return false;
        }
        self.writer = None;
        let written = ended == Ended::Exited(0);
        report.batch().end(written, now());
        match ended {
            Ended::Exited(0) => {
                self.first = false;
                report.restore("journal-failing");
            }
            Ended::Exited(error) => {
                self.read_again(report);
                let error = io::Error::from_raw_os_error(error.into());
                let text = format!(
                    "write to {}: {error}; the latest lines are in memory only: skeg logs SERVICE",
                    self.folder.display()
                );
                report.degrade("journal-failing", &text);
            }
            // By the end of the host, which writes the rest itself.
            Ended::Signaled(_) => {}
        }
        true
    }

    /// From the oldest record on: a reader of the journal takes doubles out.
    fn read_again(&self, report: &Report) {
        let kmsg = self.kmsg.as_ref();
        if kmsg.is_some_and(|kmsg| rustix::fs::seek(kmsg, SeekFrom::Start(0)).is_ok()) {
            report.batch().kernel_spoke(now());
        }
    }

    /// Writes what waits, at the end of a boot. For a copy only.
    pub fn write_last(&self, waiting: &[u8]) {
        let _ = self.write(waiting);
    }

    /// Writes; an error as an exit status.
    fn write(&self, waiting: &[u8]) -> u8 {
        let crash = match self.first {
            true => crash::take_over(&self.folder).map(drop),
            false => Ok(()),
        };
        let offset = (epoch_ns() / 1_000).saturating_sub(micros(now()));
        let mut lines = stamped(waiting, offset);
        if let Some(kmsg) = &self.kmsg {
            kernel::read_new(kmsg, offset, &mut lines);
        }
        if lines.is_empty() {
            return crash.map_or_else(number, |()| 0);
        }
        let written = segments::append(&self.folder, &self.header, &lines);
        written.and(crash).map_or_else(number, |()| 0)
    }
}

/// The lines of a batch with what the clock says: as much more than the time since the boot.
fn stamped(waiting: &[u8], offset_us: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(waiting);
    let mut lines = Vec::with_capacity(waiting.len() * 5 / 4);
    for line in text.lines().filter_map(Line::parse) {
        let real_us = line.mono_us.saturating_add(offset_us);
        let times = (real_us, line.mono_us);
        formats::journal::push(&mut lines, times, &line.unit, line.priority, &line.text);
    }
    lines
}

fn number(error: io::Error) -> u8 {
    let number = error.raw_os_error().and_then(|n| u8::try_from(n).ok());
    number.unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_do_not_fall_where_the_clock_was_set_after_a_line() {
        let waiting = b"0 7 init 6 a\n0 9 engine 3 b c\n";
        assert_eq!(
            stamped(waiting, 100),
            b"107 7 init 6 a\n109 9 engine 3 b c\n"
        );
    }
}
