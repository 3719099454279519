//! The daemon `net`: the host's own network. Brings links up, leases addresses by DHCPv4, and writes what
//! it learnt to `/run/skeg/net/resolv.conf` and `/run/skeg/net/network.json`.
//!
//! Never touches links that are not physical ones, nor containers' networks. IPv6 addresses are the
//! kernel's own doing, by router advertisements.

mod client;
pub mod daemon;
pub mod dhcp;
mod kernel;
pub mod report;

use std::path::PathBuf;

use crate::supervisor::Supervisor;
use anyhow::Context;
use formats::paths;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the daemon until it is told to stop by SIGTERM. Addresses stay: their leases do too.
pub fn main() -> anyhow::Result<()> {
    sys::heap::keep_small();
    crate::daemon_log::start();
    let folder = PathBuf::from(paths::NETWORK_FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let supervisor = Supervisor::from_environment();
    let settings = daemon::Settings {
        folder,
        also: Vec::new(),
        supervisor,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("start tokio runtime")?.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let stop = async move {
            terminated.recv().await;
        };
        daemon::run(settings, stop).await
    })
}
