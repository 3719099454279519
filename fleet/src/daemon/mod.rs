//! The fleet's two daemons: `engine` decides for the cluster, `agent` runs units on its machine.
//!
//! One thread each; all that they decide stands in [`crate::engine`] and [`crate::agent`].

pub mod agent;
mod config;
pub mod engine;

pub use config::{AgentConfig, ApiConfig, Config};

use std::time::Duration;

/// The monotonic clock, which watchdogs and leases are counted on.
#[must_use]
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A number that no other life of this program has: requests and orders are numbered from it, and an
/// engine is named by it.
fn life() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let millis = time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000;
    (millis << 20) & (u64::MAX >> 1)
}

/// Runs one of them until SIGTERM.
///
/// # Errors
/// In words, why it cannot go on.
pub fn run<T>(daemon: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("start the event loop: {e}"))?;
    runtime.block_on(daemon)
}

/// Becomes ready with SIGTERM or SIGINT.
async fn told_to_stop() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| format!("listen for signals: {e}"));
    let (mut term, mut int) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
