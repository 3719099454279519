//! The zygote's client: turns a spec into a plan, has it executed, and follows the child to its exec.
//!
//! Never clones by itself, and leaves nothing behind when a start fails: no cgroup, no process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::parcel::{self, Parcel};
use super::{Answer, CreateRequest, Error, ExecRequest, Request, RequestKind, Role, wire};
use crate::container::cgroup::Cgroup;
use crate::container::child::Report;
use crate::container::plan::{Around, Plan};

/// No line on a status pipe is longer.
const MAX_REPORT: usize = 64 << 10;

/// A way to the zygote. Cheap to clone; each request is its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// A container that is set up and waits just before its exec. Dropped, its process exits unstarted
/// and its cgroup is removed, if still here.
#[derive(Debug)]
pub struct Created {
    /// Process id of its main process.
    pub pid: u32,
    /// pidfd of that process, close-on-exec.
    pub pidfd: OwnedFd,
    /// Its network namespace, close-on-exec.
    pub netns: OwnedFd,
    /// Master of its terminal, with [`super::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    id: String,
    start: Option<OwnedFd>,
    status: Receiver,
    cgroup: Unstarted,
}

/// A process that was started in a running container.
#[derive(Debug)]
pub struct ExecSession {
    /// Process id as seen from here.
    pub pid: u32,
    /// pidfd of that process, close-on-exec.
    pub pidfd: OwnedFd,
    /// Master of its terminal, with [`super::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    exit: Receiver,
    status: Option<ExecStatus>,
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

/// The cgroup of a container that has not started: removed unless it is taken.
#[derive(Debug)]
struct Unstarted(Option<Cgroup>);

impl Unstarted {
    /// Removes it once whoever is in there has died.
    async fn give_up(mut self) {
        if let Some(cgroup) = self.0.take() {
            // What the kernel still says is not the caller's to mend.
            let _ = cgroup.remove().await;
        }
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.0 {
            cgroup.remove_now();
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
        let id = request.id;
        let around = Around {
            in_cgroup: request.cgroup.is_some(),
            ..Around::default()
        };
        let plan = Plan::create(&request.spec, &request.rootfs, &around);
        let plan = plan.map_err(|reason| Error::Spec {
            id: id.clone(),
            reason,
        })?;
        let linux = request.spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let placement = request.cgroup.as_ref();
        let cgroup = placement.map(|placement| Cgroup::create(placement, resources));
        let cgroup = cgroup.transpose().map_err(|source| Error::Cgroup {
            id: id.clone(),
            source,
        })?;
        let cgroup = Unstarted(cgroup);
        let broken = |source| self.broken(source);
        let (start_read, start) = close_on_exec_pipe().map_err(broken)?;
        let (status, status_write) = close_on_exec_pipe().map_err(broken)?;
        let mut parcel = Parcel::default();
        parcel.add(Role::Status, status_write);
        parcel.add(Role::Start, start_read);
        let console = parcel.add_stdio(request.stdio, &plan).map_err(broken)?;
        if let Some(cgroup) = &cgroup.0 {
            let directory = cgroup.directory().try_clone_to_owned().map_err(broken)?;
            parcel.add(Role::Cgroup, directory);
        }
        let cloned = self.request(&id, RequestKind::Create, plan, parcel).await;
        let (pid, pidfd, netns) = match cloned {
            Ok(cloned) => cloned,
            Err(error) => {
                // A zygote that died after the clone has left a child that nobody can name.
                cgroup.give_up().await;
                return Err(error);
            }
        };
        let mut status = Receiver::from_owned_fd(status).map_err(broken)?;
        match next_report(&mut status).await.map_err(broken)? {
            Some(Report::Ready) => {}
            Some(Report::Failed(failure)) => {
                died(&pidfd).await;
                return Err(Error::Failed { id, failure });
            }
            Some(_) | None => {
                died(&pidfd).await;
                return Err(Error::Died { id });
            }
        }
        let terminal = receive_terminal(console).map_err(broken)?;
        let Some(netns) = netns else {
            died(&pidfd).await;
            return Err(Error::Died { id });
        };
        Ok(Created {
            pid,
            pidfd,
            netns,
            terminal,
            id,
            start: Some(start),
            status,
            cgroup,
        })
    }

    /// Starts a process in a running container and waits until it has exec'ed.
    ///
    /// # Errors
    /// The step that failed, e.g. that the program was not found.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecSession, Error> {
        let id = request.id;
        let plan = Plan::exec(&request.spec, &request.process);
        let plan = plan.map_err(|reason| Error::Spec {
            id: id.clone(),
            reason,
        })?;
        let broken = |source| self.broken(source);
        let (status, status_write) = close_on_exec_pipe().map_err(broken)?;
        let (exit, exit_write) = close_on_exec_pipe().map_err(broken)?;
        // Not let go before it can be named: one that nobody watches must not run.
        let (start_read, start) = close_on_exec_pipe().map_err(broken)?;
        let mut parcel = Parcel::default();
        parcel.add(Role::Status, status_write);
        parcel.add(Role::Start, start_read);
        parcel.add(Role::Exit, exit_write);
        parcel.add(Role::Container, request.pidfd);
        let console = parcel.add_stdio(request.stdio, &plan).map_err(broken)?;
        if let Some(path) = &request.cgroup {
            let cgroup = Cgroup::open(path).map_err(broken)?;
            let directory = cgroup.directory().try_clone_to_owned().map_err(broken)?;
            parcel.add(Role::Cgroup, directory);
        }
        let (pid, pidfd, _) = self.request(&id, RequestKind::Exec, plan, parcel).await?;
        let mut status = Receiver::from_owned_fd(status).map_err(broken)?;
        let mut said = next_report(&mut status).await.map_err(broken)?;
        if said == Some(Report::Ready) {
            // One that has died meanwhile is told by its status pipe.
            let _ = rustix::io::write(&start, b"s");
            said = next_report(&mut status).await.map_err(broken)?;
        } else if said.is_none() {
            return Err(Error::Died { id });
        }
        match said {
            None => {}
            Some(Report::Failed(failure)) => return Err(Error::Failed { id, failure }),
            Some(_) => return Err(Error::Died { id }),
        }
        Ok(ExecSession {
            pid,
            pidfd,
            terminal: receive_terminal(console).map_err(broken)?,
            exit: Receiver::from_owned_fd(exit).map_err(broken)?,
            status: None,
        })
    }

    /// The network namespace of a running container's process, close-on-exec.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn network(&self, id: &str, pidfd: OwnedFd) -> Result<OwnedFd, Error> {
        self.open(RequestKind::Network, id, pidfd).await
    }

    /// The root folder of a running container's process (`O_PATH`), close-on-exec.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn root(&self, id: &str, pidfd: OwnedFd) -> Result<OwnedFd, Error> {
        self.open(RequestKind::Root, id, pidfd).await
    }

    async fn open(&self, what: RequestKind, id: &str, pidfd: OwnedFd) -> Result<OwnedFd, Error> {
        let mut parcel = Parcel::default();
        parcel.add(Role::Container, pidfd);
        match self.ask(what, Plan::default(), parcel).await? {
            (Answer::Failed(failure), _) => Err(Error::Failed {
                id: id.into(),
                failure,
            }),
            (_, mut fds) => fds
                .pop()
                .ok_or_else(|| self.broken(io::Error::other("answered without a descriptor"))),
        }
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Zygote {
            socket: self.socket.display().to_string(),
            source,
        }
    }

    /// Has a process cloned: its pid, its pidfd, and a new container's network namespace.
    async fn request(
        &self,
        id: &str,
        kind: RequestKind,
        plan: Plan,
        parcel: Parcel,
    ) -> Result<(u32, OwnedFd, Option<OwnedFd>), Error> {
        let (answer, fds) = self.ask(kind, plan, parcel).await?;
        let mut fds = fds.into_iter();
        match (answer, fds.next()) {
            (Answer::Cloned { pid }, Some(pidfd)) => Ok((pid, pidfd, fds.next())),
            (Answer::Cloned { .. } | Answer::Opened, _) => {
                Err(self.broken(io::Error::other("answered without a pidfd")))
            }
            (Answer::Failed(failure), _) => Err(Error::Failed {
                id: id.into(),
                failure,
            }),
        }
    }

    /// Sends a request and waits for its answer, off the async threads.
    async fn ask(
        &self,
        kind: RequestKind,
        plan: Plan,
        parcel: Parcel,
    ) -> Result<(Answer, Vec<OwnedFd>), Error> {
        let socket = self.socket.clone();
        let asked = move || {
            let request = Request {
                kind,
                plan,
                fds: parcel.roles,
            };
            parcel::ask(&socket, &request, &parcel.fds)
        };
        let answered = tokio::task::spawn_blocking(asked).await;
        let answered = answered.map_err(|error| self.broken(io::Error::other(error)))?;
        answered.map_err(|source| self.broken(source))
    }
}

/// Whether the program of a child ran whose engine has died: what its status pipe says, once it has an end.
///
/// # Errors
/// When `status` is no status pipe, or the child says nothing in five seconds.
pub async fn has_run(status: OwnedFd) -> io::Result<bool> {
    let mut status = Receiver::from_owned_fd(status)?;
    let said = tokio::time::timeout(Duration::from_secs(5), next_report(&mut status)).await;
    Ok(said.map_err(io::Error::from)?? != Some(Report::Unstarted))
}

impl Created {
    /// A copy of the reading end of its status pipe, for [`has_run`] after this process has died.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn status(&self) -> io::Result<OwnedFd> {
        self.status.as_fd().try_clone_to_owned()
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.0.as_ref()
    }

    /// Lets the process exec, and waits until it has. What is left is its cgroup, for whoever
    /// watches over it now.
    ///
    /// # Errors
    /// Why the exec failed; the process has exited then, and its cgroup is removed.
    pub async fn start(mut self) -> Result<Option<Cgroup>, Error> {
        if let Some(start) = self.start.take() {
            // A child that has died meanwhile is told by its status pipe.
            let _ = rustix::io::write(&start, b"s");
        }
        let id = self.id.clone();
        let reported = next_report(&mut self.status).await;
        match reported {
            Ok(None) => Ok(self.cgroup.0.take()),
            Ok(Some(Report::Failed(failure))) => {
                died(&self.pidfd).await;
                Err(Error::Failed { id, failure })
            }
            Ok(Some(_)) => Err(Error::Died { id }),
            Err(source) => Err(Error::Zygote {
                socket: format!("status pipe of {id}"),
                source,
            }),
        }
    }

    /// Gives up the start: the process exits unstarted, and the cgroup is removed.
    pub async fn cancel(mut self) {
        self.start = None;
        died(&self.pidfd).await;
        if let Some(cgroup) = self.cgroup.0.take() {
            // Nobody is left in it; what the kernel still says is not the caller's to mend.
            let _ = cgroup.remove().await;
        }
    }
}

impl ExecSession {
    /// Waits for its end. `None`: the helper was killed with the zygote, and no status is known.
    pub async fn wait(&mut self) -> Option<ExecStatus> {
        if self.status.is_none() {
            match next_report(&mut self.exit).await {
                Ok(Some(Report::Exited(status))) => self.status = Some(status),
                // It goes on without its helper.
                _ => ended(&self.pidfd).await,
            }
        }
        self.status
    }
}

fn close_on_exec_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// The next line on a status pipe, `None` at its end.
async fn next_report(pipe: &mut Receiver) -> io::Result<Option<Report>> {
    let mut line = Vec::new();
    loop {
        // The writer sends nothing after a line before it is asked to: byte-wise reads lose nothing.
        match pipe.read_u8().await {
            Ok(b'\n') => return Ok(Some(serde_json::from_slice(&line)?)),
            Ok(byte) if line.len() < MAX_REPORT => line.push(byte),
            Ok(_) => return Err(io::Error::other("a report that does not end")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// The child has sent the master before it reported: it is there, or it never comes.
fn receive_terminal(console: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let Some(console) = console else {
        return Ok(None);
    };
    let (_, mut fds) = wire::receive(console.as_fd())?;
    match fds.pop() {
        Some(master) => Ok(Some(master)),
        None => Err(io::Error::other("no terminal was sent")),
    }
}

/// Waits until the process that `pidfd` names has exited, for five seconds: it is about to.
async fn died(pidfd: &OwnedFd) {
    let _ = tokio::time::timeout(Duration::from_secs(5), ended(pidfd)).await;
}

/// Waits until the process that `pidfd` names has exited.
async fn ended(pidfd: &OwnedFd) {
    let Ok(copy) = pidfd.try_clone() else {
        return;
    };
    // Owned descriptors never close under the reactor, which is what the deprecation is about.
    #[allow(deprecated)]
    if let Ok(ready) = tokio::io::unix::AsyncFd::with_interest(copy, tokio::io::Interest::READABLE)
    {
        let _ = ready.readable().await;
    }
}
