//! Service files, `/usr/lib/skeg/services/NAME.service`: the daemons of the image, in systemd's
//! words. PID 1 is the reader.
//!
//! Only the keys of [`KEYS`] exist; any other is an error that names the file, the line and the
//! nearest known key. Nothing here starts a process or looks at the host.

mod confine;
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

/// The words of the keys that the image's builder makes a seccomp filter of. PID 1 loads the result,
/// see [`crate::seccomp`], and asks only whether there must be one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemCalls {
    /// `SystemCallFilter=`: names and `@groups`; a first word with `~` before it makes a list of what
    /// is refused, else it is one of what is allowed.
    pub filter: Vec<String>,
    /// `RestrictAddressFamilies=`: the only families that sockets are made of, e.g. `AF_UNIX`.
    pub families: Vec<String>,
    /// `RestrictNamespaces=`: the only kinds of namespaces that may be made or entered; none of them
    /// with `yes`. None = not restricted.
    pub namespaces: Option<Vec<String>>,
}

impl SystemCalls {
    /// Whether the service runs behind a filter.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        !self.filter.is_empty() || !self.families.is_empty() || self.namespaces.is_some()
    }
}

/// A service's own mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// `ProtectSystem=strict`: everything is read-only, gives no set-id rights and opens no device;
    /// unlike systemd's, below `/proc`, `/sys` and `/dev` too.
    pub strict: bool,
    /// `PrivateDevices=`: a `/dev` with null, zero, full, random, urandom and tty alone.
    pub private_devices: bool,
    /// `DevicePolicy=closed`: the devices of the host are there to be looked at, and none opens but
    /// those six.
    pub closed_devices: bool,
    /// `ProtectProc=invisible`: only its own user's processes are in `/proc`, and no settings.
    pub private_proc: bool,
    /// The keys that name paths, in the order of the file.
    pub paths: Vec<PathRule>,
}

impl View {
    /// Whether the service has a mount namespace of its own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.strict || self.private_devices || self.private_proc || !self.paths.is_empty()
    }
}

/// One path of a [`View`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Absolute, without `..`.
    pub path: String,
    /// Written with `-` before it: a path that is not there is left out, instead of failing the start.
    pub optional: bool,
    /// What holds from there on down.
    pub access: Access,
}

/// What a [`PathRule`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `ReadWritePaths=`.
    ReadWrite,
    /// `ReadOnlyPaths=`.
    ReadOnly,
    /// `InaccessiblePaths=`.
    Inaccessible,
    /// `ExecPaths=`.
    Exec,
    /// `NoExecPaths=`.
    NoExec,
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
    /// `ConditionKernelCommandLine=`: a word without which there is no such service; none = always.
    pub condition: Option<String>,
    /// `ConditionDirectoryNotEmpty=`: an absolute path; while there is nothing in it the service is passed
    /// over at its start, which counts as done.
    pub condition_folder: Option<String>,
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
    /// `AmbientCapabilities=` as a bit mask: what a service that is not root has.
    pub ambient: u64,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `SystemCallFilter=`, `RestrictAddressFamilies=` and `RestrictNamespaces=`.
    pub system_calls: SystemCalls,
    /// What of the file system it sees, and how.
    pub view: View,
    /// `RuntimeDirectory=`, below `/run`: made for the service's user before a start, and kept.
    pub runtime_directory: Option<String>,
    /// `StateDirectory=`, below `/var/lib`: made for the service's user before a start, and kept.
    pub state_directory: Option<String>,
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
            condition: None,
            condition_folder: None,
            kind: Kind::default(),
            exec_start: Vec::new(),
            user: None,
            group: None,
            capabilities: None,
            ambient: 0,
            no_new_privileges: false,
            system_calls: SystemCalls::default(),
            view: View::default(),
            runtime_directory: None,
            state_directory: None,
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
