//! The zygote's loop: one connection, one request, one clone.
//!
//! Never starts a thread, never logs between clone and exec, and serves only root and the engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use formats::accounts;
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::DumpableBehavior;
use sys::clone3::{Cloned, clone3};

use super::{Answer, MAGIC, Request, RequestKind, Role, session, wire};
use crate::container::child::{self, Child, Start};
use crate::container::failure::{Doing, Failure};
use crate::container::plan::Plan;
use crate::crash::{self, Point};
use crate::supervisor::Supervisor;

/// `CLONE_PARENT` (clone(2)).
const CLONE_PARENT: u64 = 0x8000;
/// A client that has connected sends its request at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves requests on a `SOCK_SEQPACKET` socket at `socket` until the process is killed; tells
/// `NOTIFY_SOCKET` when it listens.
///
/// # Errors
/// When it cannot listen. It must be called before the process has a second thread.
pub fn serve(socket: &Path) -> io::Result<std::convert::Infallible> {
    let accounts = std::fs::read_to_string(formats::paths::ACCOUNTS).unwrap_or_default();
    let engine = accounts::user(&accounts, accounts::ENGINE);
    let mut listener = Some(listen(socket, engine)?);
    rustix::process::chdir("/")?;
    // Between clone and exec a container could else reach this program and its descriptors by
    // /proc/PID/exe and /proc/PID/fd (CVE-2019-5736).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Exec helpers are reaped by the kernel: their end is reported on their own pipe.
    sys::child::ignore_children();
    Supervisor::from_environment().tell("READY=1");
    while let Some(open) = &listener {
        let accepted = rustix::net::accept_with(open, SocketFlags::CLOEXEC);
        let connection = match accepted {
            Ok(connection) => connection,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
            Err(error) => return Err(error.into()),
        };
        let served = admit(&connection, engine).and_then(|()| serve_one(connection, &mut listener));
        if let Err(error) = served {
            eprintln!("zygote: {error}");
        }
    }
    Err(io::Error::other("a clone came back to the zygote's loop"))
}

/// Plans say what is done as root: nobody else may have one executed.
fn admit(connection: &OwnedFd, engine: Option<(u32, u32)>) -> io::Result<()> {
    let uid = wire::peer_uid(connection.as_fd())?;
    match uid == 0 || engine.is_some_and(|(engine, _)| uid == engine) {
        true => Ok(()),
        false => Err(io::Error::other(format!("user {uid} refused"))),
    }
}

fn listen(path: &Path, engine: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    if let Some((_, group)) = engine {
        std::os::unix::fs::chown(path, None, Some(group))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// What is cloned closes `listener` and the connection at once: held open by a process that waits,
/// they would let clients wait for ever for a zygote that has died.
fn serve_one(connection: OwnedFd, listener: &mut Option<OwnedFd>) -> io::Result<()> {
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&connection, timeout, Some(PATIENCE))?;
    }
    let (request, fds) = receive(&connection)?;
    match request.kind {
        RequestKind::Create => create(connection, &request, fds, listener),
        RequestKind::Exec => session::exec(connection, &request, fds, listener),
        RequestKind::Network => open(&connection, fds, "ns/net", OFlags::RDONLY),
        RequestKind::Root => open(&connection, fds, "root", OFlags::PATH | OFlags::DIRECTORY),
    }
}

fn receive(connection: &OwnedFd) -> io::Result<(Request, Descriptors)> {
    let (bytes, mut fds) = wire::receive(connection.as_fd())?;
    if bytes != MAGIC || fds.is_empty() {
        return Err(io::Error::other(
            "expected a request of this protocol's version",
        ));
    }
    let request: Request = wire::read_body(fds.remove(0))?;
    if request.fds.len() != fds.len() {
        return Err(io::Error::other("as many roles as descriptors are needed"));
    }
    let descriptors = Descriptors(request.fds.iter().copied().zip(fds).collect());
    Ok((request, descriptors))
}

/// A request's descriptors by their roles.
pub(super) struct Descriptors(Vec<(Role, OwnedFd)>);

impl Descriptors {
    /// Takes the first of this role.
    pub(super) fn take(&mut self, role: Role) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(known, _)| *known == role)?;
        Some(self.0.remove(at).1)
    }

    /// Puts one back.
    pub(super) fn put(&mut self, role: Role, fd: OwnedFd) {
        self.0.push((role, fd));
    }

    /// Takes what a child needs, all of it numbered past the standard streams.
    pub(super) fn into_child(mut self, plan: &Plan) -> Result<Child, Failure> {
        let mut stdio = Vec::new();
        while let Some(stream) = self.take(Role::Stdio) {
            // dup2 of one must not close the next.
            let moved = sys::child::out_of_the_way(stream.as_fd()).doing("fcntl", "stdio")?;
            stdio.push(moved);
        }
        let status = self.take(Role::Status);
        let status = status.ok_or_else(|| Failure::refused("request", "", "no status pipe"))?;
        Ok(Child {
            stdio,
            status: sys::child::out_of_the_way(status.as_fd()).doing("fcntl", "status")?,
            start: self.take(Role::Start).map(Start::Pipe),
            go: None,
            trees: Vec::new(),
            kept: 0,
            console: self.take(Role::Console),
            container: self
                .take(Role::Container)
                .map(|container| (container, plan.namespaces.clone())),
            descent: self.take(Role::Descent),
            env: plan.env.clone(),
        })
    }
}

/// Sends the answer to a request.
pub(super) fn answer(
    connection: &OwnedFd,
    answer: &Answer,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    wire::send(connection.as_fd(), &serde_json::to_vec(answer)?, fds)?;
    Ok(())
}

fn create(
    connection: OwnedFd,
    request: &Request,
    mut fds: Descriptors,
    listener: &mut Option<OwnedFd>,
) -> io::Result<()> {
    let cgroup = fds.take(Role::Cgroup);
    let plan = &request.plan;
    let flags = plan
        .namespaces
        .iter()
        .fold(CLONE_PARENT, |flags, one| flags | one.clone_flag());
    crash::at(Point::Received);
    let cloned = clone3(flags, cgroup.as_ref().map(AsFd::as_fd));
    match cloned {
        Ok(Cloned::Child) => {
            drop((cgroup, connection, listener.take()));
            become_child(plan, fds)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            crash::at(Point::Forked);
            // Whoever opens it must be allowed to trace the child; the engine need not be. One that
            // has died already has none, and its status pipe tells.
            let netns = std::fs::File::open(format!("/proc/{pid}/ns/net")).ok();
            let netns = netns.as_ref().map(AsFd::as_fd);
            let fds: Vec<_> = [pidfd.as_fd()].into_iter().chain(netns).collect();
            answer(&connection, &Answer::Cloned { pid }, &fds)
        }
        Err(error) => {
            let failure = Failure::kernel("clone3", "", error);
            answer(&connection, &Answer::Failed(failure), &[])
        }
    }
}

/// Opens a file of a container's process in /proc, for a client that may not trace it.
fn open(
    connection: &OwnedFd,
    mut fds: Descriptors,
    name: &'static str,
    how: OFlags,
) -> io::Result<()> {
    let container = fds.take(Role::Container);
    let container = container.ok_or_else(|| io::Error::other("no container's pidfd"))?;
    match of_process(&container, name, how) {
        Ok(opened) => answer(connection, &Answer::Opened, &[opened.as_fd()]),
        Err(error) => {
            let failure = Failure::kernel("open", name, error);
            answer(connection, &Answer::Failed(failure), &[])
        }
    }
}

/// By its number, which is nobody else's as long as the pidfd tells the same one afterwards.
fn of_process(container: &OwnedFd, name: &str, how: OFlags) -> io::Result<OwnedFd> {
    let pid = wire::pid_of(container.as_fd())?;
    let path = format!("/proc/{pid}/{name}");
    let opened = rustix::fs::open(path, how | OFlags::CLOEXEC, Mode::empty())?;
    match wire::pid_of(container.as_fd())? == pid {
        true => Ok(opened),
        false => Err(rustix::io::Errno::SRCH.into()),
    }
}

/// The cloned process: executes the plan, never returns.
pub(super) fn become_child(plan: &Plan, fds: Descriptors) -> ! {
    match fds.into_child(plan) {
        Ok(child) => child::run(&plan.operations, child),
        Err(_) => sys::child::exit_now(127),
    }
}
