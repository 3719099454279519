//! The way to PID 1: [`formats::registration`] over its `SOCK_SEQPACKET` socket.
//!
//! Each request is a connection of its own, so an answer can never be taken for another's. It decides
//! nothing: what to do about a refusal is the caller's.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use formats::registration::{
    ErrorCode, Id, MAX_MESSAGE, MAX_STDIO, Power, Reply, Request, Slot, StampKind,
};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use tokio::io::unix::AsyncFd;

use crate::crash::{self, Point};

/// Why PID 1 did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens: this host was not booted by Skeg.
    #[error("PID 1 does not listen at {0}: containers can only run on a host booted by Skeg")]
    Absent(String),
    /// The conversation failed.
    #[error("talk to PID 1 at {path}: {source}")]
    Io {
        /// The socket.
        path: String,
        /// What happened.
        source: io::Error,
    },
    /// It refused.
    #[error("PID 1 refused: {0}")]
    Refused(#[from] ErrorCode),
    /// It said something else than the protocol allows.
    #[error("PID 1 answered out of turn: {0:?}")]
    Unexpected(Reply),
}

/// A container that PID 1 holds, with its stdio ends.
#[derive(Debug)]
pub struct Held {
    /// What PID 1 knows of it.
    pub slot: Slot,
    /// In the order of the registration.
    pub stdio: Vec<OwnedFd>,
}

/// Where PID 1 listens, unless `SKEG_INIT_SOCKET` says otherwise.
fn path() -> PathBuf {
    std::env::var_os("SKEG_INIT_SOCKET")
        .map_or_else(|| PathBuf::from(formats::paths::INIT_SOCKET), PathBuf::from)
}

fn failed(source: io::Error) -> Error {
    Error::Io {
        path: path().display().to_string(),
        source,
    }
}

fn open(flags: SockFlag) -> Result<OwnedFd, Error> {
    let path = path();
    let open = || {
        let flags = flags | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(&path)?)?;
        Ok(fd)
    };
    open().map_err(|e: nix::Error| match e {
        nix::Error::ENOENT | nix::Error::ECONNREFUSED => Error::Absent(path.display().to_string()),
        e => failed(e.into()),
    })
}

fn send(fd: BorrowedFd<'_>, request: &Request, fds: &[RawFd]) -> Result<(), Error> {
    let message = request.encode();
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    let parts = [IoSlice::new(message.bytes())];
    sendmsg::<UnixAddr>(
        fd.as_raw_fd(),
        &parts,
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(|_| ())
    .map_err(|e| failed(e.into()))
}

fn receive(fd: BorrowedFd<'_>) -> io::Result<(Result<Reply, ErrorCode>, Vec<OwnedFd>)> {
    let mut bytes = [0; MAX_MESSAGE];
    let (length, fds) = receive_with_fds(fd, &mut bytes)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((Reply::decode(&bytes[..length]), fds))
}

fn receive_with_fds(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space =
        [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STDIO + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = recvmsg(fd, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}

/// One request, one reply, without an event loop.
fn ask(request: &Request, fds: &[RawFd]) -> Result<u32, Error> {
    let socket = open(SockFlag::empty())?;
    send(socket.as_fd(), request, fds)?;
    if matches!(request, Request::Register { .. }) {
        crash::at(Point::Asked);
    }
    match receive(socket.as_fd()).map_err(failed)?.0? {
        Reply::Ok { slot } => Ok(slot),
        Reply::Error(code) => Err(code.into()),
        other => Err(Error::Unexpected(other)),
    }
}

/// Asks for an orderly shutdown.
///
/// # Errors
/// When PID 1 cannot be reached or refuses.
pub fn power(power: Power) -> Result<(), Error> {
    ask(&Request::Power(power), &[]).map(|_| ())
}

/// Whether PID 1 listens.
///
/// # Errors
/// [`Error::Absent`] on a host that Skeg did not boot.
pub fn present() -> Result<(), Error> {
    open(SockFlag::empty()).map(|_| ())
}

/// PID 1 answers from its loop within a millisecond: waiting for it is left to a thread that blocks
/// only because a shutdown may hold it up.
async fn ask_apart(request: Request, fds: Vec<OwnedFd>) -> Result<(), Error> {
    let asked = tokio::task::spawn_blocking(move || {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        ask(&request, &raw).map(|_| ())
    });
    asked.await.map_err(|e| failed(io::Error::other(e)))?
}

/// Registers a container that waits on its start pipe.
///
/// # Errors
/// When PID 1 cannot be reached or refuses: the container must not be started then.
pub async fn register(id: Id, pid: u32, pidfd: OwnedFd, stdio: Vec<OwnedFd>) -> Result<(), Error> {
    let mut fds = vec![pidfd];
    fds.extend(stdio);
    ask_apart(Request::Register { id, pid }, fds).await
}

/// Frees the slot of a container whose exit is on disk.
///
/// # Errors
/// When PID 1 cannot be reached or refuses.
pub async fn release(id: Id) -> Result<(), Error> {
    ask_apart(Request::Release { id }, Vec::new()).await
}

/// Stamps a moment into the boot timeline; it does not matter enough to fail anything.
pub async fn stamp(kind: StampKind, name: &str) {
    let short: String = name
        .chars()
        .take(formats::registration::ID_LENGTH)
        .collect();
    let clean = short.replace(
        |c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c),
        "_",
    );
    if let Some(name) = Id::new(&clean)
        && let Err(e) = ask_apart(Request::Stamp { name, kind }, Vec::new()).await
    {
        tracing::debug!("stamp {}:{clean}: {e}", kind.as_str());
    }
}

/// Every container that PID 1 holds.
///
/// # Errors
/// When PID 1 cannot be reached.
pub fn list() -> Result<Vec<Held>, Error> {
    let socket = open(SockFlag::empty())?;
    send(socket.as_fd(), &Request::List, &[])?;
    let mut held = Vec::new();
    loop {
        let (reply, stdio) = receive(socket.as_fd()).map_err(failed)?;
        match reply? {
            Reply::Entry(slot) => held.push(Held { slot, stdio }),
            Reply::End => return Ok(held),
            Reply::Error(code) => return Err(code.into()),
            other => return Err(Error::Unexpected(other)),
        }
    }
}

/// Exits as PID 1 tells them.
#[derive(Debug)]
pub struct Exits {
    socket: AsyncFd<OwnedFd>,
}

impl Exits {
    /// Subscribes. Exits from before are not told: [`list`] afterwards, so that none is missed.
    ///
    /// # Errors
    /// When PID 1 cannot be reached.
    pub async fn subscribe() -> Result<Self, Error> {
        let socket = open(SockFlag::SOCK_NONBLOCK)?;
        let socket = crate::watched::watched(socket).map_err(failed)?;
        send(socket.as_fd(), &Request::Subscribe, &[])?;
        let exits = Self { socket };
        match exits.reply().await? {
            Reply::Ok { .. } => Ok(exits),
            Reply::Error(code) => Err(code.into()),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// The next exit.
    ///
    /// # Errors
    /// When the connection is gone: subscribe again, and list.
    pub async fn next(&self) -> Result<Slot, Error> {
        match self.reply().await? {
            Reply::Exit(slot) => Ok(slot),
            other => Err(Error::Unexpected(other)),
        }
    }

    async fn reply(&self) -> Result<Reply, Error> {
        loop {
            let mut ready = self.socket.readable().await.map_err(failed)?;
            match ready.try_io(|socket| receive(socket.as_fd())) {
                Ok(received) => return Ok(received.map_err(failed)?.0?),
                Err(_would_block) => {}
            }
        }
    }
}
