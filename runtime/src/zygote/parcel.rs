//! A request on its way to the zygote: its descriptors, each with its role, and the one answer.
//!
//! It blocks whoever sends it, and knows no plan from another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Answer, MAGIC, Request, Role, Stdio, wire};
use crate::container::plan::Plan;

/// The zygote clones in milliseconds; a stuck one must not hold a start for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// The descriptors of a request and what they are for.
#[derive(Default)]
pub(super) struct Parcel {
    pub(super) roles: Vec<Role>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Parcel {
    pub(super) fn add(&mut self, role: Role, fd: OwnedFd) {
        self.roles.push(role);
        self.fds.push(fd);
    }

    /// Adds the streams; with a terminal, returns the socket on which its master arrives.
    pub(super) fn add_stdio(&mut self, stdio: Stdio, plan: &Plan) -> io::Result<Option<OwnedFd>> {
        match (stdio, plan.terminal) {
            (
                Stdio::Streams {
                    stdin,
                    stdout,
                    stderr,
                },
                false,
            ) => {
                for stream in [stdin, stdout, stderr] {
                    self.add(Role::Stdio, stream);
                }
                Ok(None)
            }
            (Stdio::Terminal, true) => {
                let (ours, theirs) = rustix::net::socketpair(
                    AddressFamily::UNIX,
                    SocketType::SEQPACKET,
                    SocketFlags::CLOEXEC,
                    None,
                )?;
                self.add(Role::Console, theirs);
                Ok(Some(ours))
            }
            (_, terminal) => {
                let text = format!("process.terminal is {terminal}, and the streams are not");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}

/// Asks on a connection of its own; blocks until there is an answer.
pub(super) fn ask(
    socket: &Path,
    request: &Request,
    fds: &[OwnedFd],
) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let connection = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&connection, timeout, Some(PATIENCE))?;
    }
    rustix::net::connect(&connection, &SocketAddrUnix::new(socket)?)?;
    let body = wire::body(request)?;
    let mut all: Vec<BorrowedFd<'_>> = vec![body.as_fd()];
    all.extend(fds.iter().map(AsFd::as_fd));
    wire::send(connection.as_fd(), MAGIC, &all)?;
    let (bytes, received) = wire::receive(connection.as_fd())?;
    if bytes.is_empty() {
        return Err(io::Error::other("closed the connection without an answer"));
    }
    Ok((serde_json::from_slice(&bytes)?, received))
}
