//! The engine: one daemon that keeps images, containers, volumes, logs and units.
//!
//! Pure middles (`machine`, [`crate::unit`]) decide; one task a container carries the decisions out.
pub mod api;
mod backoff;
pub mod init_client;
mod log;
mod machine;
pub mod options;
pub mod record;
pub mod values;
mod watched;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start at all.
pub fn main() -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
