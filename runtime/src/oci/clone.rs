//! The clone: the container's process as a child of this one, born where the plan wants it.
//!
//! What only a process before the clone can do (join a user or pid namespace, make a time namespace)
//! is done by a helper that is gone afterwards, so that this process stays where it is.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use sys::clone3::{Cloned, clone3};

use super::error::Error;
use crate::container::child::{self, Child};
use crate::container::failure::{Doing, Failure};
use crate::container::namespaces::{self, Namespace};
use crate::container::plan::Plan;
use crate::zygote::wire;

/// `CLONE_PARENT` (clone(2)).
const CLONE_PARENT: u64 = 0x8000;

/// A cloned process.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
}

/// Clones a container's first process.
pub(super) fn container(
    plan: &Plan,
    cgroup: Option<BorrowedFd<'_>>,
    child: Child,
) -> Result<Process, Error> {
    let flags = plan.namespaces.iter();
    let flags = flags.fold(0, |flags, one| flags | one.clone_flag());
    if plan.joins.is_empty() && plan.clocks.is_none() {
        return direct(plan, flags, cgroup, child);
    }
    by_helper(plan, flags, cgroup, child, || before(plan))
}

/// Clones another process into the container that `child` is told of. It joins and gives up its rights
/// before the one is cloned that whoever is in there can see.
pub(super) fn session(
    plan: &Plan,
    cgroup: Option<BorrowedFd<'_>>,
    mut child: Child,
) -> Result<Process, Error> {
    let (ours, theirs) = pair()?;
    child.descent = Some(theirs);
    match clone3(0, cgroup) {
        Ok(Cloned::Child) => {
            drop(ours);
            child::run(&plan.operations, child)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            drop(child);
            let told = wire::receive(ours.as_fd()).ok();
            let last = told.and_then(|(bytes, mut fds)| Some((bytes.try_into().ok()?, fds.pop()?)));
            let Some((last, of_last)) = last else {
                // It has not come so far: its reports say why.
                return Ok(Process { pid, pidfd });
            };
            ended(&pidfd);
            Ok(Process {
                pid: u32::from_ne_bytes(last),
                pidfd: of_last,
            })
        }
        Err(error) => Err(Failure::kernel("clone3", "", error).into()),
    }
}

/// The same for one whose filter has somebody who listens, to whom its own number is told: it is in the
/// container with the rights of this process, until it gives them up.
pub(super) fn session_that_is_listened_to(
    plan: &Plan,
    pidfd: BorrowedFd<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    child: Child,
) -> Result<Process, Error> {
    let joined: Vec<Namespace> = plan
        .namespaces
        .iter()
        .copied()
        .filter(|namespace| *namespace != Namespace::Cgroup)
        .collect();
    by_helper(plan, 0, cgroup, child, || {
        namespaces::join_process(pidfd, &joined)
    })
}

fn direct(
    plan: &Plan,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: Child,
) -> Result<Process, Error> {
    match clone3(flags, cgroup) {
        Ok(Cloned::Child) => child::run(&plan.operations, child),
        Ok(Cloned::Parent { pid, pidfd }) => Ok(Process { pid, pidfd }),
        Err(error) => Err(Failure::kernel("clone3", "", error).into()),
    }
}

fn by_helper(
    plan: &Plan,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: Child,
    before: impl FnOnce() -> Result<(), Failure>,
) -> Result<Process, Error> {
    let (ours, theirs) = pair()?;
    match clone3(0, None) {
        Ok(Cloned::Child) => {
            drop(ours);
            help(plan, flags, cgroup, child, before, &theirs)
        }
        Ok(Cloned::Parent { pidfd, .. }) => {
            drop((theirs, child));
            let told = wire::receive(ours.as_fd());
            ended(&pidfd);
            let (bytes, mut fds) = told.map_err(|error| Error::io("helper", error))?;
            let pid: Result<u32, Failure> = serde_json::from_slice(&bytes)
                .map_err(|_| Error::Other("helper: it died".into()))?;
            let pidfd = fds.pop();
            let pidfd = pidfd.ok_or_else(|| Error::Other("helper: no pidfd came".into()));
            Ok(Process {
                pid: pid?,
                pidfd: pidfd?,
            })
        }
        Err(error) => Err(Failure::kernel("clone3", "", error).into()),
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let kind = SocketType::SEQPACKET;
    let pair = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    pair.map_err(|error| Error::io("socketpair", error))
}

/// Waits for the end of one that goes by itself.
fn ended(pidfd: &OwnedFd) {
    let options = rustix::process::WaitIdOptions::EXITED;
    let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), options);
}

/// The helper: tells the pid and the pidfd of what it cloned for its parent, or what failed.
fn help(
    plan: &Plan,
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: Child,
    before: impl FnOnce() -> Result<(), Failure>,
    answer: &OwnedFd,
) -> ! {
    let cloned = before().and_then(|()| clone3(flags | CLONE_PARENT, cgroup).doing("clone3", ""));
    let (told, pidfd): (Result<u32, Failure>, _) = match cloned {
        Ok(Cloned::Child) => child::run(&plan.operations, child),
        Ok(Cloned::Parent { pid, pidfd }) => (Ok(pid), Some(pidfd)),
        Err(failure) => (Err(failure), None),
    };
    let bytes = serde_json::to_vec(&told).unwrap_or_default();
    let fds: Vec<BorrowedFd<'_>> = pidfd.iter().map(AsFd::as_fd).collect();
    let sent = wire::send(answer.as_fd(), &bytes, &fds);
    sys::child::exit_now(sent.is_err().into())
}

/// Joins namespaces, each with the rights of this user namespace or of the one that is joined, and
/// makes the time namespace of the children.
fn before(plan: &Plan) -> Result<(), Failure> {
    let mut later = Vec::new();
    if let Some(offsets) = &plan.clocks {
        namespaces::unshare(Namespace::Time)?;
        let path = "/proc/self/timens_offsets";
        let mut file = std::fs::File::options()
            .write(true)
            .open(path)
            .doing("open", path)?;
        file.write_all(offsets.as_bytes()).doing("write", path)?;
    }
    let (user, others): (Vec<_>, Vec<_>) = plan
        .joins
        .iter()
        .partition(|(namespace, _)| *namespace == Namespace::User);
    for (namespace, path) in others {
        if namespaces::join(*namespace, path).is_err() {
            later.push((namespace, path));
        }
    }
    for (namespace, path) in user {
        namespaces::join(*namespace, path)?;
    }
    later
        .into_iter()
        .try_for_each(|(namespace, path)| namespaces::join(*namespace, path))
}
