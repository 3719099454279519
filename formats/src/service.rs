//! Service files, `/usr/lib/skeg/services/NAME.service`: the daemons of the image, in systemd's
//! words. PID 1 is the reader.
//!
//! Only the keys of [`KEYS`] exist; any other is an error that names the file, the line and the
//! nearest known key. Nothing here starts a process or looks at the host.

mod parse;
mod value;

pub use parse::{KEYS, parse};

use std::time::Duration;

/// Why a service file was refused: its text names file, line and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ServiceError {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole lacks something.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

/// When a service counts as started (`Type=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// As soon as its program runs.
    #[default]
    Simple,
    /// When it has sent `READY=1`.
    Notify,
    /// When its program has exited with 0.
    Oneshot,
}

/// When a service that ended is started again (`Restart=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After an exit status other than 0, a signal, or a timeout.
    OnFailure,
    /// After any end.
    Always,
}

/// A parsed service file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The file's name without `.service`: also its cgroup's and its log's name.
    pub name: String,
    /// `Description=`.
    pub description: String,
    /// `After=`: services, without `.service`, whose first start must have come to an end.
    pub after: Vec<String>,
    /// `Requires=`: services that must be started before this one; implies `After=`.
    pub requires: Vec<String>,
    /// `Type=`.
    pub kind: Kind,
    /// `ExecStart=`: an absolute path, then arguments.
    pub exec_start: Vec<String>,
    /// `User=`, a name of `/etc/passwd` or a number; none = root.
    pub user: Option<String>,
    /// `Group=`, a name of `/etc/group` or a number; none = the user's own.
    pub group: Option<String>,
    /// `CapabilityBoundingSet=` as a bit mask of capability numbers; none = all.
    pub capabilities: Option<u64>,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `MemoryMax=` in bytes; none = no limit.
    pub memory_max: Option<u64>,
    /// `MemoryHigh=` in bytes; none = no limit.
    pub memory_high: Option<u64>,
    /// `TasksMax=`; none = no limit.
    pub tasks_max: Option<u64>,
    /// `CPUWeight=`, 1 to 10000.
    pub cpu_weight: Option<u64>,
    /// `WatchdogSec=`; none = not watched.
    pub watchdog: Option<Duration>,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`: the first pause before a restart; it doubles with each failure in a row.
    pub restart_delay: Duration,
    /// `TimeoutStartSec=`; none = `infinity`.
    pub timeout_start: Option<Duration>,
    /// `TimeoutStopSec=`; there is no `infinity`: a shutdown is bounded, always.
    pub timeout_stop: Duration,
    /// `FileDescriptorStoreMax=`: descriptors kept for the service across its restarts.
    pub fd_store_max: usize,
    /// `Environment=`, in order, a later one of the same name replacing the earlier.
    pub environment: Vec<(String, String)>,
    /// `OOMScoreAdjust=`, −1000 to 1000.
    pub oom_score_adjust: i32,
}

impl Service {
    /// A service of this name with every key at its default and no program yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            after: Vec::new(),
            requires: Vec::new(),
            kind: Kind::default(),
            exec_start: Vec::new(),
            user: None,
            group: None,
            capabilities: None,
            no_new_privileges: false,
            memory_max: None,
            memory_high: None,
            tasks_max: None,
            cpu_weight: None,
            watchdog: None,
            restart: Restart::default(),
            restart_delay: Duration::from_millis(100),
            timeout_start: Some(Duration::from_secs(90)),
            timeout_stop: Duration::from_secs(90),
            fd_store_max: 0,
            environment: Vec::new(),
            oom_score_adjust: 0,
        }
    }
}
