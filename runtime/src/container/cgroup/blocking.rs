//! Waiting for a cgroup without an event loop: for programs that do nothing else meanwhile.
//!
//! It waits for the kernel's event, never by polling in a loop of its own.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::{Cgroup, PATIENCE, keyed, remove_tree};

impl Cgroup {
    /// As [`Cgroup::freeze`].
    ///
    /// # Errors
    /// What the kernel says, or `TimedOut`.
    pub fn freeze_now(&self, frozen: bool) -> io::Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        self.wait_now("frozen", u64::from(frozen))
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let events = self.read_if_there("cgroup.events").unwrap_or_default();
        keyed(&events, "frozen") == Some(1)
    }

    /// As [`Cgroup::remove`]: kills, waits until it is empty, and removes it with all below.
    ///
    /// # Errors
    /// When it is not empty within five seconds, or what the kernel says.
    pub fn remove_blocking(&self) -> io::Result<()> {
        match self.kill() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        self.wait_now("populated", 0)?;
        remove_tree(&self.path)
    }

    fn wait_now(&self, key: &str, value: u64) -> io::Result<()> {
        let mut events: File = self.open_file("cgroup.events", OFlags::RDONLY)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut text = String::new();
            events.seek(SeekFrom::Start(0))?;
            events.read_to_string(&mut text)?;
            if keyed(&text, key) == Some(value) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(ErrorKind::TimedOut.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            // The kernel notifies of changes since the last read.
            poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left))?;
        }
    }
}
