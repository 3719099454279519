//! The hardware watchdog: armed before the first child, fed on progress of the main loop only.
//!
//! It is never disarmed: a reboot that hangs, or that the kernel refuses, is cut by it as well.

use crate::clock::Moment;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// The timeout that is asked for.
const TIMEOUT: i32 = 30;

/// An armed watchdog.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout: Duration,
    due: Moment,
}

impl Watchdog {
    /// Opens and thereby arms the device.
    ///
    /// # Errors
    /// As open(2): there is no such device, or another program has it.
    pub fn arm(path: &Path, now: Moment) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let taken = sys::watchdog::set_timeout(device.as_fd(), TIMEOUT);
        let seconds = taken.or_else(|_| sys::watchdog::timeout(device.as_fd()));
        let seconds = u64::try_from(seconds.unwrap_or(TIMEOUT))
            .unwrap_or(1)
            .max(1);
        Ok(Self::armed(device, Duration::from_secs(seconds), now))
    }

    /// A device that is armed already, and resets after `timeout` without food.
    #[must_use]
    pub fn armed(device: File, timeout: Duration, now: Moment) -> Self {
        let mut watchdog = Self {
            device,
            timeout,
            due: now,
        };
        watchdog.feed(now);
        watchdog
    }

    /// How long the machine may hang before it is reset.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When it wants to be fed next.
    #[must_use]
    pub fn due(&self) -> Moment {
        self.due
    }

    /// Feeds it. An error has no remedy here: the machine is reset, which is what it is for.
    pub fn feed(&mut self, now: Moment) {
        let _ = self.device.write(b"\0");
        self.due = now + self.timeout / 3;
    }
}
