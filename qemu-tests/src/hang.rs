//! Hangs: PID 1 frozen, PID 1 in an endless loop. Made from outside, in the program that ships: the loop is two bytes in memory, `jmp` to itself.
//!
//! Nothing of this survives the reset that it is for.

use crate::machine::Running;
use crate::scene::eventually;
use anyhow::{Context, Result};
use std::time::Duration;

/// x86's `jmp` to itself.
const LOOP: [u8; 2] = [0xeb, 0xfe];
const PATIENCE: Duration = Duration::from_secs(30);
/// Any signal that PID 1 reads wakes it.
const SIGCHLD: i32 = 17;

impl Running {
    /// Freezes PID 1 by a cgroup.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn freeze_pid_one(&self) -> Result<()> {
        let group = "/sys/fs/cgroup/skeg.slice/net";
        let agent = self.agent()?;
        agent.write(&format!("{group}/cgroup.procs"), b"1")?;
        agent.write(&format!("{group}/cgroup.freeze"), b"1")
    }

    /// Lets PID 1 return from the wait that it is in to an endless loop.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn spin_pid_one(&self) -> Result<()> {
        let agent = self.agent()?;
        let waits = || {
            let state = self.read("/proc/1/syscall")?;
            let at = state.split_whitespace().nth(8).context("it runs")?;
            u64::from_str_radix(at.trim_start_matches("0x"), 16).context("no address")
        };
        let at = eventually("PID 1 waits", PATIENCE, waits)?;
        agent.patch("/proc/1/mem", at, &LOOP)?;
        agent.kill(1, SIGCHLD)
    }
}
