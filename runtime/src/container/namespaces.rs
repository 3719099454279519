//! Namespaces: the kinds that a container has, their clone flags, and joining existing ones.
//!
//! It makes none: the clone does, and for the few that a clone makes too early or too late, unshare.

use std::fmt;
use std::os::fd::AsFd;

use oci_spec::runtime::LinuxNamespaceType;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};
use serde::{Deserialize, Serialize};

use super::failure::{Doing, Failure};

/// Which rustix does not name.
const CLONE_NEWTIME: u32 = 0x80;

/// A kind of namespace, named as in `/proc/PID/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Mounts.
    Mnt,
    /// Host name and domain.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Process ids.
    Pid,
    /// Network.
    Net,
    /// cgroup root.
    Cgroup,
    /// User and group ids, and what capabilities count for.
    User,
    /// Offsets of the monotonic and boot clocks.
    Time,
}

impl Namespace {
    /// The `CLONE_NEW*` flag (clone(2)).
    #[must_use]
    pub fn clone_flag(self) -> u64 {
        self.unshare_flag().bits().into()
    }

    fn unshare_flag(self) -> UnshareFlags {
        match self {
            Self::Mnt => UnshareFlags::NEWNS,
            Self::Uts => UnshareFlags::NEWUTS,
            Self::Ipc => UnshareFlags::NEWIPC,
            Self::Pid => UnshareFlags::NEWPID,
            Self::Net => UnshareFlags::NEWNET,
            Self::Cgroup => UnshareFlags::NEWCGROUP,
            Self::User => UnshareFlags::NEWUSER,
            Self::Time => UnshareFlags::from_bits_retain(CLONE_NEWTIME),
        }
    }

    fn link_type(self) -> LinkNameSpaceType {
        match self {
            Self::Mnt => LinkNameSpaceType::Mount,
            Self::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            Self::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Self::Pid => LinkNameSpaceType::ProcessID,
            Self::Net => LinkNameSpaceType::Network,
            Self::Cgroup => LinkNameSpaceType::ControlGroup,
            Self::User => LinkNameSpaceType::User,
            Self::Time => LinkNameSpaceType::Time,
        }
    }

    /// The kind that a spec names.
    #[must_use]
    pub fn from_spec(kind: LinuxNamespaceType) -> Self {
        match kind {
            LinuxNamespaceType::Mount => Self::Mnt,
            LinuxNamespaceType::Uts => Self::Uts,
            LinuxNamespaceType::Ipc => Self::Ipc,
            LinuxNamespaceType::Pid => Self::Pid,
            LinuxNamespaceType::Network => Self::Net,
            LinuxNamespaceType::Cgroup => Self::Cgroup,
            LinuxNamespaceType::User => Self::User,
            LinuxNamespaceType::Time => Self::Time,
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mnt => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
        })
    }
}

/// Joins the namespace that the file at `path` names (setns(2)).
pub(crate) fn join(namespace: Namespace, path: &str) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).doing("open", path)?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(namespace.link_type()))
        .doing("setns", path)
}

/// Joins these namespaces of the process that `pidfd` names, all or none.
pub(crate) fn join_process(
    pidfd: std::os::fd::BorrowedFd<'_>,
    namespaces: &[Namespace],
) -> Result<(), Failure> {
    let mask = namespaces
        .iter()
        .fold(0, |mask, namespace| mask | namespace.unshare_flag().bits());
    let mask = ThreadNameSpaceType::from_bits_retain(mask);
    rustix::thread::move_into_thread_name_spaces(pidfd, mask).doing("setns", "")
}

/// Leaves for a new namespace of this kind (unshare(2)).
pub(crate) fn unshare(namespace: Namespace) -> Result<(), Failure> {
    sys::child::unshare_namespace(namespace.clone_flag()).doing("unshare", namespace.to_string())
}
