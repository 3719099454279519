//! What a machine's kernel keeps account of: memory, processes' pages, their switches.
//!
//! It reads `/proc` as it is and judges nothing; sizes are in kibibytes, as the kernel tells them.

use crate::Running;
use anyhow::{Context, Result};
use std::fmt;

/// Skeg's own processes, PID 1 first.
pub const DAEMONS: [&str; 4] = ["init", "net", "zygote", "engine"];

/// The pages of one process.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Its service; `init` for PID 1.
    pub name: String,
    /// All that is mapped, shared pages counted in full (`VmRSS`, but exact).
    pub rss: u64,
    /// The same, each shared page divided by those who share it.
    pub pss: u64,
    /// Pages of its own: heap, stacks, data that was written to.
    pub anonymous: u64,
    /// Of those, in pages of 2 MiB.
    pub huge: u64,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rss, pss, .. } = self;
        let (anonymous, huge) = (self.anonymous, self.huge);
        write!(
            f,
            "{name:8} rss {rss:6} pss {pss:6} anonymous {anonymous:5} (huge {huge})"
        )
    }
}

impl Running {
    /// PID 1, or the first process of a service.
    ///
    /// # Errors
    /// It has none.
    pub fn daemon_pid(&self, name: &str) -> Result<i32> {
        match name {
            "init" => Ok(1),
            service => self.service_pid(service),
        }
    }

    /// The pages of PID 1 or of a service's first process.
    ///
    /// # Errors
    /// It is gone.
    pub fn pages(&self, name: &str) -> Result<Pages> {
        let pid = self.daemon_pid(name)?;
        let maps = self.read(&format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Pages {
            name: name.to_owned(),
            rss: number(&maps, "Rss")?,
            pss: number(&maps, "Pss")?,
            anonymous: number(&maps, "Anonymous")?,
            huge: number(&maps, "AnonHugePages")?,
        })
    }

    /// A number of `/proc/PID/status`, or of a thread's: `PID/task/TID`.
    ///
    /// # Errors
    /// The process is gone, or there is no such line.
    pub fn process_number(&self, process: impl fmt::Display, key: &str) -> Result<u64> {
        number(&self.read(&format!("/proc/{process}/status"))?, key)
    }

    /// What is not free: `MemTotal` less `MemFree`. Never `MemAvailable`, which takes off the
    /// kernel's reserves, that grow with the machine.
    ///
    /// # Errors
    /// As the channel says.
    pub fn memory_in_use(&self) -> Result<u64> {
        let text = self.read("/proc/meminfo")?;
        Ok(number(&text, "MemTotal")? - number(&text, "MemFree")?)
    }
}

/// The number behind `key:`.
fn number(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?.strip_prefix(':')?;
        rest.split_whitespace().next()?.parse().ok()
    });
    line.with_context(|| format!("no `{key}:` with a number in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let text = "MemTotal:  991 kB\nPss_Dirty: 7 kB\nPss:   12 kB\nName:\tx\n";
        assert_eq!(number(text, "MemTotal").unwrap(), 991);
        assert_eq!(number(text, "Pss").unwrap(), 12);
        assert!(number(text, "Name").is_err() && number(text, "Mem").is_err());
    }
}
