//! `skeg net`: the host's own network. Brings links up, leases addresses by DHCPv4, and writes what
//! it learnt to `/run/skeg/resolv.conf` and `/run/skeg/network.json`.
//!
//! Never touches links that are not physical ones, nor containers' networks.

/// Runs the daemon until it is told to stop by SIGTERM.
pub fn main() -> anyhow::Result<()> {
    Ok(())
}
