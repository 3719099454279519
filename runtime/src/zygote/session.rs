//! The zygote's side of an exec: a helper joins the container and starts the process, and tells its end.
//!
//! The helper never runs a program itself, and stays out of the container's cgroup and pid namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone3::{Cloned, clone3};

use super::server::{Descriptors, answer, become_child};
use super::{Answer, ExecStatus, Request, Role};
use crate::container::child::{Report, report};
use crate::container::failure::Failure;
use crate::container::namespaces::{self, Namespace};

/// Forks the helper, which answers on the connection.
pub(super) fn exec(
    connection: OwnedFd,
    request: &Request,
    fds: Descriptors,
    listener: &mut Option<OwnedFd>,
) -> io::Result<()> {
    match clone3(0, None) {
        Ok(Cloned::Parent { .. }) => Ok(()),
        Ok(Cloned::Child) => {
            drop(listener.take());
            let outcome = help(connection, request, fds);
            sys::child::exit_now(outcome.is_err().into())
        }
        Err(error) => {
            let failure = Failure::kernel("clone3", "", error);
            answer(&connection, &Answer::Failed(failure), None)
        }
    }
}

fn help(connection: OwnedFd, request: &Request, mut fds: Descriptors) -> io::Result<()> {
    // Its child is to be waited for, unlike the zygote's.
    sys::child::default_signals();
    let (cgroup, exit) = (fds.take(Role::Cgroup), fds.take(Role::Exit));
    let refuse = |failure| answer(&connection, &Answer::Failed(failure), None);
    let Some(container) = fds.take(Role::Container) else {
        return refuse(Failure::refused("request", "", "no container to join"));
    };
    let (cgroup_namespace, others): (Vec<_>, Vec<_>) = request
        .plan
        .namespaces
        .iter()
        .partition(|namespace| **namespace == Namespace::Cgroup);
    if let Err(failure) = namespaces::join_process(container.as_fd(), &others) {
        return refuse(failure);
    }
    if !cgroup_namespace.is_empty() {
        fds.put(Role::Container, container);
    }
    match clone3(0, cgroup.as_ref().map(AsFd::as_fd)) {
        Ok(Cloned::Child) => {
            drop((cgroup, exit, connection));
            become_child(&request.plan, fds)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            // The status pipe has to end with the exec: only the child may hold it.
            drop((fds, cgroup));
            answer(&connection, &Answer::Cloned { pid }, Some(&pidfd))?;
            drop(connection);
            tell_end(&pidfd, exit)
        }
        Err(error) => refuse(Failure::kernel("clone3", "", error)),
    }
}

fn tell_end(pidfd: &OwnedFd, exit: Option<OwnedFd>) -> io::Result<()> {
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let low = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    let status = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExecStatus::Exited(low(code)),
        (None, signal) => ExecStatus::Signaled(low(signal.unwrap_or(9))),
    };
    if let Some(exit) = exit {
        report(&exit, &Report::Exited(status));
    }
    Ok(())
}
