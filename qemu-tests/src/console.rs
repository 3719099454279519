//! The serial console of a machine: kept in a file, waited for line by line, written to.
//!
//! A wait ends at once when the guest's kernel oopses: that is an error of its own kind.

use crate::feed::{Feed, Missed};
use crate::oops;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The console of one machine.
pub struct Console {
    feed: Feed,
    writer: UnixStream,
    file: PathBuf,
}

enum Seen<T> {
    Wanted(T),
    Oops(String),
}

impl Console {
    /// Starts to read the console; all of it is kept in `file`.
    pub(crate) fn new(stream: UnixStream, file: &Path) -> Result<Self> {
        let log = File::create(file).with_context(|| format!("create {}", file.display()))?;
        Ok(Self {
            writer: stream.try_clone().context("clone the console socket")?,
            feed: Feed::watch(stream, Some(log)),
            file: file.to_owned(),
        })
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.feed.lines()
    }

    /// Where the console is kept.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A place in the console, for [`Console::wait_after`]: now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.feed.len()
    }

    /// Waits for a line that contains `wanted`, from the first line on.
    ///
    /// # Errors
    /// Guest oops, end of the machine, or the deadline; with the console's last lines.
    pub fn wait(&self, wanted: &str, timeout: Duration) -> Result<String> {
        self.wait_after(0, wanted, timeout)
    }

    /// Waits for a line that contains `wanted`, at `from` or later.
    ///
    /// # Errors
    /// As [`Console::wait`].
    pub fn wait_after(&self, from: usize, wanted: &str, timeout: Duration) -> Result<String> {
        self.look_for(from, wanted, timeout, oops::is_oops)
    }

    /// The same, past panics that the test has caused.
    ///
    /// # Errors
    /// As [`Console::wait`], but for an oops.
    pub fn wait_past_panics(&self, from: usize, wanted: &str, timeout: Duration) -> Result<String> {
        self.look_for(from, wanted, timeout, |_| false)
    }

    fn look_for(
        &self,
        from: usize,
        wanted: &str,
        timeout: Duration,
        is_oops: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let look = |line: &str| {
            if line.contains(wanted) {
                Some(Seen::Wanted(line.to_owned()))
            } else {
                is_oops(line).then(|| Seen::Oops(line.to_owned()))
            }
        };
        match self.feed.wait(from, timeout, look) {
            Ok((_, Seen::Wanted(line))) => Ok(line),
            Ok((_, Seen::Oops(line))) => {
                // The trace follows; give the console a moment to bring it.
                let _ = self.feed.wait_closed(Duration::from_secs(2));
                bail!("guest oops, no test failure: {line}\n{}", self.tail())
            }
            Err(Missed::Timeout) => bail!(
                "console: no line with {wanted:?} in {} s; the last lines:\n{}",
                timeout.as_secs(),
                self.tail()
            ),
            Err(Missed::Closed) => bail!(
                "console: the machine stopped before a line with {wanted:?}; the last lines:\n{}",
                self.tail()
            ),
        }
    }

    /// Waits until QEMU has closed the console.
    ///
    /// # Errors
    /// The deadline.
    pub fn wait_closed(&self, timeout: Duration) -> Result<()> {
        self.feed.wait_closed(timeout).map_err(|_| {
            anyhow::anyhow!(
                "console: the machine still runs after {} s; the last lines:\n{}",
                timeout.as_secs(),
                self.tail()
            )
        })
    }

    /// Refuses to call a run good in which the guest's kernel oopsed.
    ///
    /// # Errors
    /// The line by which the kernel says so.
    pub fn check_for_oops(&self) -> Result<()> {
        match oops::find(&self.lines()) {
            Some(line) => bail!("guest oops, no test failure: {line}\n{}", self.tail()),
            None => Ok(()),
        }
    }

    /// Types `bytes` into the console.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        (&self.writer)
            .write_all(bytes)
            .context("write to the console")
    }

    /// Copies the console to standard output from now on.
    pub fn show(&self, on: bool) {
        self.feed.tee(on);
    }

    /// The last 30 lines, indented, for an error.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.lines();
        let from = lines.len().saturating_sub(30);
        let shown: Vec<String> = lines[from..].iter().map(|l| format!("    {l}")).collect();
        shown.join("\n")
    }
}
