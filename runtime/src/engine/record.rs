//! What is kept of a container on disk: `config.json` and `state.json`.
//!
//! Types only; [`super::shelf`] reads and writes them.

use serde::{Deserialize, Serialize};

use super::options::{ContainerOptions, HealthCheck};
use crate::network::Attachment;

/// Version of both files. Others are refused.
pub const FORMAT: u32 = 1;

/// What a container is: only a rename or an update changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// [`FORMAT`].
    pub format: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was created, in seconds since the epoch.
    pub created: u64,
    /// What was asked for.
    pub options: ContainerOptions,
    /// The image's id, `sha256:…`: later pulls of the same name do not change the container.
    pub image_id: String,
    /// What it runs, for lists.
    pub command: String,
    /// Volumes made for it alone, by target: they go with it.
    pub anonymous: Vec<(std::path::PathBuf, String)>,
    /// Its health check, the image's part filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Never started.
    #[default]
    Created,
    /// On its way to run.
    Starting,
    /// Runs.
    Running,
    /// Was asked to stop, and runs.
    Stopping,
    /// Ended, and is started again after a pause.
    Restarting,
    /// Ended.
    Exited,
}

impl Phase {
    /// Whether it has a process.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Stopping)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        })
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// As a shell reports it.
    pub code: u8,
    /// Nanoseconds since the epoch.
    pub at_ns: u64,
    /// The kernel killed one of its processes for want of memory.
    #[serde(default)]
    pub oom: bool,
}

/// Why it does not run, when it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoppedBy {
    /// Somebody asked.
    User,
    /// The host went down: it is started at the next boot.
    Shutdown,
}

/// What changes of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT`].
    pub format: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Its main process, while it runs.
    pub process: Option<Process>,
    /// Its last main process, also when it has ended; 0 when there was none.
    #[serde(default)]
    pub last_pid: u32,
    /// When it was started last, nanoseconds since the epoch.
    pub started_ns: Option<u64>,
    /// How it ended last.
    pub exit: Option<ExitRecord>,
    /// Why it could not be started.
    pub error: Option<String>,
    /// Exit status that goes with the error.
    #[serde(default)]
    pub error_code: u8,
    /// Restarts since it was started by hand or at boot.
    pub restarts: u32,
    /// Set while it is meant to be down.
    pub stopped_by: Option<StoppedBy>,
    /// Its place on the bridge.
    pub network: Option<Attachment>,
    /// Its removal has begun: it is never started again.
    #[serde(default)]
    pub removing: bool,
    /// What its checks say of the present or last run, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// It runs and is not ready yet.
    #[serde(default)]
    pub waiting: bool,
    /// Its last run did not get ready in time.
    #[serde(default)]
    pub late: bool,
}

/// What a container's checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not judged yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row failed as it takes.
    Unhealthy,
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// A process, told apart from later ones of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Field 22 of proc_pid_stat(5).
    pub start_ticks: u64,
}
