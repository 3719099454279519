//! A unit as the face shows it: one value, taken from the engine at one moment.
//!
//! Words are systemd's, so that nothing has to be translated twice. Times are microseconds since the
//! epoch, 0 when there is none.

use std::collections::BTreeSet;

/// A unit at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// With its suffix.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// For people.
    pub description: String,
    /// Whether its file was understood.
    pub load: Load,
    /// Its file.
    pub path: String,
    /// Files that add to it.
    pub drop_ins: Vec<String>,
    /// Where it stands.
    pub active: Active,
    /// The finer state, e.g. `running`, `auto-restart`.
    pub sub: &'static str,
    /// What its file has changed since.
    pub stale: bool,
    /// How units hang together.
    pub links: Links,
    /// When its state changed last.
    pub changed: u64,
    /// When it became active, and when it ceased to be.
    pub active_enter: u64,
    /// See `active_enter`.
    pub active_exit: u64,
    /// When it became inactive or failed, and when it ceased to be.
    pub inactive_enter: u64,
    /// See `inactive_enter`.
    pub inactive_exit: u64,
    /// What only a service has.
    pub service: Option<Service>,
    /// What only a timer has.
    pub timer: Option<Timer>,
}

/// Whether a file was understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Load {
    /// It was.
    #[default]
    Loaded,
    /// There is none.
    NotFound,
    /// It was not: what is wrong.
    Bad(String),
}

/// systemd's `ActiveState`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Active {
    /// Not started.
    #[default]
    Inactive,
    /// On its way.
    Activating,
    /// Runs, or has done what it is for.
    Active,
    /// Is being stopped.
    Deactivating,
    /// Ended with an error.
    Failed,
}

/// How units hang together; names with suffixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Started before it.
    pub after: BTreeSet<String>,
    /// Started after it.
    pub before: BTreeSet<String>,
    /// Not started without them.
    pub requires: BTreeSet<String>,
    /// Started with it.
    pub wants: BTreeSet<String>,
    /// Not without them, and stopped when they stop.
    pub binds_to: BTreeSet<String>,
    /// Stopped and restarted with them.
    pub part_of: BTreeSet<String>,
    /// Never beside them.
    pub conflicts: BTreeSet<String>,
    /// What it starts when its time comes.
    pub triggers: BTreeSet<String>,
}

/// What only a service has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// `notify`, `oneshot`.
    pub kind: &'static str,
    /// `no`, `on-failure`, `always`.
    pub restart: &'static str,
    /// Since it was started by hand or at boot.
    pub restarts: u32,
    /// Why it ended: `success`, `exit-code`, `oom-kill`, `timeout`.
    pub result: &'static str,
    /// Its main process, 0 when it does not run.
    pub pid: u32,
    /// Its last main process.
    pub last_pid: u32,
    /// When that was started.
    pub started: u64,
    /// When that ended.
    pub ended: u64,
    /// Its exit status, if it ended.
    pub exit: Option<u8>,
    /// What it says of itself.
    pub status: String,
    /// Below the mount point of cgroup2.
    pub cgroup: String,
    /// Bytes; `u64::MAX` when it is not known.
    pub memory: u64,
    /// Nanoseconds; `u64::MAX` when it is not known.
    pub cpu: u64,
    /// Processes and threads; `u64::MAX` when it is not known.
    pub tasks: u64,
}

/// What only a timer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timer {
    /// The unit that it starts.
    pub unit: String,
    /// When it elapses next.
    pub next: u64,
    /// When it elapsed last.
    pub last: u64,
    /// It makes up for what was missed.
    pub persistent: bool,
}

impl Load {
    /// systemd's `LoadState`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::NotFound => "not-found",
            Self::Bad(_) => "bad-setting",
        }
    }
}

impl Active {
    /// systemd's `ActiveState`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
        }
    }
}

impl View {
    /// What systemd tells of a name that it has no file for: a client asks first and looks then.
    pub fn absent(name: &str) -> Self {
        let is_service = name.ends_with(".service");
        Self {
            name: name.to_owned(),
            description: name.to_owned(),
            load: Load::NotFound,
            sub: "dead",
            service: is_service.then(Service::unknown),
            ..Self::default()
        }
    }

    /// Whether it goes by this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// systemd's `UnitFileState`: what comes from a Quadlet file is neither enabled nor disabled.
    pub fn file_state(&self) -> &'static str {
        match (&self.load, self.path.is_empty()) {
            (Load::NotFound, _) => "",
            (_, true) => "static",
            _ => "generated",
        }
    }
}

impl Service {
    /// One that never ran.
    pub fn unknown() -> Self {
        Self {
            kind: "notify",
            restart: "no",
            result: "success",
            memory: u64::MAX,
            cpu: u64::MAX,
            tasks: u64::MAX,
            ..Self::default()
        }
    }
}
