//! The zygote: a small single-threaded process that clones containers as children of PID 1.
//!
//! It executes plans that its client has made and decides nothing itself; it knows no image, no
//! network and no unit, and serves only root and the engine's user.

pub mod client;
mod parcel;
pub mod server;
mod session;
pub(crate) mod wire;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};

use crate::container::cgroup::{self, Placement};
use crate::container::plan::Plan;

pub use crate::container::failure::Failure;
pub use client::{Client, Created, ExecSession, ExecStatus};

/// Serves until it is killed.
///
/// # Errors
/// When it cannot listen.
pub fn main() -> std::io::Result<()> {
    match server::serve(&crate::engine::zygote_socket())? {}
}

/// A container to create.
#[derive(Debug)]
pub struct CreateRequest {
    /// The container's id, for error messages.
    pub id: String,
    /// What to run and how; `root.path` is ignored in favour of `rootfs`.
    pub spec: Spec,
    /// What becomes `/`.
    pub rootfs: Rootfs,
    /// Where its cgroup is made, from `linux.resources`. `None` leaves it in the zygote's cgroup:
    /// no limits, and a spec that grants `CAP_MKNOD` is refused since no device rule would hold.
    pub cgroup: Option<Placement>,
    /// Its standard streams.
    pub stdio: Stdio,
}

/// What becomes a container's `/`. All paths are the host's, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// This directory.
    Directory(PathBuf),
    /// An overlay, mounted in the container's mount namespace only: nothing to unmount.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Empty directory on the file system of `upper`.
        work: PathBuf,
        /// Empty directory that the overlay is mounted on.
        at: PathBuf,
    },
}

/// The standard streams of a process in a container.
#[derive(Debug)]
pub enum Stdio {
    /// The container's ends of three pipes (or any other descriptors).
    Streams {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A terminal of the container's devpts; its master is [`Created::terminal`] or
    /// [`ExecSession::terminal`].
    Terminal,
}

/// A process to start in a running container.
#[derive(Debug)]
pub struct ExecRequest {
    /// The container's id, for error messages.
    pub id: String,
    /// pidfd of the container's main process.
    pub pidfd: OwnedFd,
    /// The spec that the container was created from: namespaces and seccomp filter.
    pub spec: Spec,
    /// What to run; `capabilities`, `noNewPrivileges` and the like count from here.
    pub process: Process,
    /// Directory of the container's cgroup.
    pub cgroup: Option<PathBuf>,
    /// Its standard streams.
    pub stdio: Stdio,
}

/// Why a request to the zygote failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The zygote cannot be reached or broke the protocol.
    #[error("zygote {socket}: {source}")]
    Zygote {
        /// Its socket.
        socket: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The spec asks for something that cannot be done.
    #[error("container {id}: spec: {reason}")]
    Spec {
        /// The container.
        id: String,
        /// Which field, and what would have been right.
        reason: String,
    },
    /// The cgroup could not be made or limited.
    #[error("container {id}: {source}")]
    Cgroup {
        /// The container.
        id: String,
        /// The file and what the kernel said.
        source: cgroup::Error,
    },
    /// The set-up, or the exec of its program, failed; nothing is left of it.
    #[error("container {id}: {failure}")]
    Failed {
        /// The container.
        id: String,
        /// The step.
        failure: Failure,
    },
    /// The child died before it was ready, by a signal from outside.
    #[error("container {id}: its process died during set-up")]
    Died {
        /// The container.
        id: String,
    },
}

/// What a request's datagram carries first, its body's descriptor.
pub(crate) const MAGIC: &[u8] = b"SKEG-ZYGOTE-1";

/// What is asked of the zygote: the body of a request.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Request {
    /// What to do with the plan.
    pub kind: RequestKind,
    /// What to execute.
    pub plan: Plan,
    /// What the descriptors after the body's are for, in order.
    pub fds: Vec<Role>,
}

/// What to do with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RequestKind {
    /// Clone a container as a child of the zygote's parent.
    Create,
    /// Start a process in a container.
    Exec,
    /// Open a container's network namespace, for a client that may not trace it. No plan.
    Network,
    /// Open the root of a container's processes. No plan.
    Root,
}

/// What a descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The child's reports.
    Status,
    /// The byte that lets it exec.
    Start,
    /// Standard input, then output, then error.
    Stdio,
    /// Where the terminal's master is sent.
    Console,
    /// The cgroup's directory.
    Cgroup,
    /// The pidfd of the container to join.
    Container,
    /// Within the zygote only: where an exec'ed process is handed over.
    Descent,
    /// Where the end of an exec'ed process is reported.
    Exit,
}

/// The zygote's answer, with the pidfd when there is one, and after it a container's network namespace.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// Cloned.
    Cloned {
        /// The child as the zygote sees it.
        pid: u32,
    },
    /// The network namespace or the root is what comes with it.
    Opened,
    /// Not done.
    Failed(Failure),
}
