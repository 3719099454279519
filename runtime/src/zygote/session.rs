//! The zygote's side of an exec: a helper joins the container and starts the process, and tells its end.
//!
//! The helper never runs a program itself, and stays out of the container's cgroup and pid namespace. Its
//! first child joins the container but for its pid namespace, and gives up its rights; only then it clones
//! the one that is seen in there, which has none.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone3::{Cloned, clone3};

use super::server::{Descriptors, answer, become_child};
use super::{Answer, ExecStatus, Request, Role, wire};
use crate::container::child::{Report, report};
use crate::container::failure::Failure;
use crate::crash::{self, Point};

/// Forks the helper, which answers on the connection.
pub(super) fn exec(
    connection: OwnedFd,
    request: &Request,
    fds: Descriptors,
    listener: &mut Option<OwnedFd>,
) -> io::Result<()> {
    match clone3(0, None) {
        Ok(Cloned::Parent { .. }) => {
            crash::at(Point::Forked);
            Ok(())
        }
        Ok(Cloned::Child) => {
            drop(listener.take());
            let outcome = help(connection, request, fds);
            sys::child::exit_now(outcome.is_err().into())
        }
        Err(error) => {
            let failure = Failure::kernel("clone3", "", error);
            answer(&connection, &Answer::Failed(failure), &[])
        }
    }
}

fn help(connection: OwnedFd, request: &Request, mut fds: Descriptors) -> io::Result<()> {
    // Its children are to be waited for, unlike the zygote's.
    sys::child::default_signals();
    let (cgroup, exit) = (fds.take(Role::Cgroup), fds.take(Role::Exit));
    let refuse = |failure| answer(&connection, &Answer::Failed(failure), &[]);
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    fds.put(Role::Descent, theirs);
    match clone3(0, cgroup.as_ref().map(AsFd::as_fd)) {
        Ok(Cloned::Child) => {
            drop((cgroup, exit, connection, ours));
            become_child(&request.plan, fds)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            crash::at(Point::Joined);
            // The status pipe has to end with the exec: only the child may hold it.
            drop((fds, cgroup));
            // One that has not come so far tells why on the status pipe.
            let (pid, pidfd) = match descended(&ours) {
                Some(last) => {
                    // Else it would count among the container's processes until the end of this one.
                    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
                    last
                }
                None => (pid, pidfd),
            };
            answer(&connection, &Answer::Cloned { pid }, &[pidfd.as_fd()])?;
            drop((connection, ours));
            tell_end(&pidfd, exit)
        }
        Err(error) => refuse(Failure::kernel("clone3", "", error)),
    }
}

/// The process that goes on in the container's pid namespace, a child of this one too.
fn descended(socket: &OwnedFd) -> Option<(u32, OwnedFd)> {
    let (bytes, mut fds) = wire::receive(socket.as_fd()).ok()?;
    let pid = u32::from_ne_bytes(bytes.try_into().ok()?);
    Some((pid, fds.pop()?))
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
