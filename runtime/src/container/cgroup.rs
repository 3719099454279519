//! A container's cgroup (version 2): made, limited, killed, frozen, removed.
//!
//! It works under any mount point of cgroup2 and never touches a cgroup outside the one it made.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where a container's cgroup is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Mount point of cgroup2, `/sys/fs/cgroup` on Skeg.
    pub mount: PathBuf,
    /// Path below it, e.g. `containers.slice/3f2a…`; the parent must exist with its controllers on.
    pub path: PathBuf,
}

/// A handle on one cgroup. Dropping it leaves the cgroup as it is.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    #[allow(dead_code)]
    directory: OwnedFd,
}

/// Numbers of one cgroup at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// `memory.current` in bytes.
    pub memory: u64,
    /// `memory.max` in bytes, `None` when unlimited.
    pub memory_max: Option<u64>,
    /// `cpu.stat` `usage_usec`.
    pub cpu_us: u64,
    /// `pids.current`.
    pub pids: u64,
    /// `memory.events` `oom_kill`.
    pub oom_kills: u64,
    /// `io.stat`, summed over the devices.
    pub read_bytes: u64,
    /// `io.stat`, summed over the devices.
    pub written_bytes: u64,
}

impl Cgroup {
    /// Opens an existing cgroup by its directory.
    ///
    /// # Errors
    /// When there is no such directory, or it is not on cgroup2.
    pub fn open(path: &Path) -> io::Result<Self> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SIGKILL to every process in it (`cgroup.kill`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Freezes or thaws it (`cgroup.freeze`), and waits until the kernel reports it.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn freeze(&self, frozen: bool) -> io::Result<()> {
        let _ = frozen;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Process ids in it and below it, as seen from here.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Its numbers now; a missing controller reads as zero.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn usage(&self) -> io::Result<Usage> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Kills what is left in it, waits for `cgroup.events` to say that it is empty, and removes it
    /// with everything below it.
    ///
    /// # Errors
    /// When it is not empty within five seconds, or what the kernel says.
    pub async fn remove(self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
