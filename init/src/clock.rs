//! Time as PID 1 counts it: since the kernel started, on a clock that never jumps.
//!
//! Deciders never read a clock: they get a [`Moment`] as an argument.

use std::time::Duration;

/// Time since the kernel started (`CLOCK_BOOTTIME`).
pub type Moment = Duration;

/// Now.
#[must_use]
pub fn now() -> Moment {
    read(rustix::time::ClockId::Boottime)
}

/// Nanoseconds since the epoch, for records that people and other machines read.
#[must_use]
pub fn epoch_ns() -> u64 {
    let now = read(rustix::time::ClockId::Realtime);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
