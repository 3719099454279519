//! The two clocks: wall time for people, a steady one for pauses.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch.
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// The wall time of a moment in clock ticks since boot, as the kernel tells a process's start.
pub fn wall_of_ticks(ticks: u64) -> u64 {
    // USER_HZ is 100 on every architecture that this runs on; so are the digits of /proc/uptime.
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let now = uptime.split_whitespace().next().map(|t| t.replace('.', ""));
    let now: u64 = now.and_then(|t| t.parse().ok()).unwrap_or(ticks);
    let age = now.saturating_sub(ticks).saturating_mul(10_000_000);
    wall_ns().saturating_sub(age)
}

/// Since the engine's start; never goes back.
pub fn steady() -> Duration {
    start().elapsed()
}

/// The moment of [`steady`] as the event loop wants it.
pub fn instant(at: Duration) -> tokio::time::Instant {
    tokio::time::Instant::from_std(start() + at)
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_started_before_now_and_not_long_ago() {
        let ticks = crate::engine::proc::start_ticks(std::process::id()).unwrap();
        let (started, now) = (wall_of_ticks(ticks), wall_ns());
        assert!(
            started <= now && now - started < 600_000_000_000,
            "{started} {now}"
        );
    }
}
