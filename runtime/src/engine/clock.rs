//! The two clocks: wall time for people, a steady one for pauses.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the epoch.
pub fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
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
