//! A daemon's beat: the one thing that it does at idle, and one wake-up each time.
//!
//! It is no interval of tokio's: that wakes up to three times for a moment some seconds ahead, once on
//! each level of its wheel.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel's; the first beat comes at once.
#[derive(Debug)]
pub struct Beat {
    timer: AsyncFd<OwnedFd>,
}

impl Beat {
    /// Twice in the time that the supervisor allows (`WATCHDOG_USEC`), or so often when it does not ask.
    ///
    /// # Errors
    /// As timerfd_create(2).
    pub fn for_watchdog(unasked: Duration) -> io::Result<Self> {
        let micros = std::env::var("WATCHDOG_USEC").ok();
        let micros = micros.and_then(|text| text.parse().ok());
        let asked = micros.map(|micros| Duration::from_micros(micros) / 2);
        Self::every(asked.unwrap_or(unasked))
    }

    /// Beats from now on, each `period`, which is not zero.
    ///
    /// # Errors
    /// As timerfd_create(2).
    pub fn every(period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let period = period.max(Duration::from_millis(1));
        let now = Duration::from_nanos(1);
        let times = Itimerspec {
            it_interval: Timespec::try_from(period).map_err(io::Error::other)?,
            it_value: Timespec::try_from(now).map_err(io::Error::other)?,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        let timer = crate::watched::watched(timer)?;
        Ok(Self { timer })
    }

    /// Waits for the next beat; those that nobody waited for count as one.
    pub async fn next(&self) {
        let mut count = [0u8; 8];
        loop {
            let Ok(mut ready) = self.timer.readable().await else {
                // The event loop is ending.
                return std::future::pending().await;
            };
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?));
            if read.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_first_beat_comes_at_once_and_the_others_in_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            let beat = Beat::every(Duration::from_millis(100)).unwrap();
            beat.next().await;
            assert!(begun.elapsed() < Duration::from_millis(100));
            beat.next().await;
            beat.next().await;
            assert!(begun.elapsed() >= Duration::from_millis(200));
        });
    }
}
