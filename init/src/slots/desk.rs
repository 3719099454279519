//! The control socket (see `formats::registration`): clients, their requests, what is sent to them.
//!
//! For root, and for the engine's user as far as slots go. A client that does not read is not waited for, and one that misbehaves is shut out;
//! neither costs a slot its content.

use super::child;
use super::outbox::Outbox;
use super::table::{Table, Taken};
use formats::registration::{
    ErrorCode, MAX_MESSAGE, MAX_STDIO, Power, Reply, Request, Slot, StampKind,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Clients at a time: the engine's starts, `skeg`'s commands, and room for what hangs.
pub const MOST_CLIENTS: usize = 64;
/// Clients that wait until there is room.
const QUEUE: i32 = 1024;

/// What a request asks of the host beyond the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Stamp a stage.
    Stamp(StampKind, formats::registration::Id),
    /// Shut down.
    Power(Power),
}

/// Who gets a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A child of PID 1 in its container's cgroup.
    Cgroups,
    /// Any child of PID 1: the host has no cgroups.
    Open,
    /// Nobody: the host is shutting down.
    Closed,
}

struct Client {
    socket: OwnedFd,
    who: Who,
    outbox: Outbox,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    Engine,
    Updater,
}

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Wait for its next request.
    Read,
    /// Wait until it takes what is due.
    Write,
    /// It is gone.
    Nothing,
}

/// A user's id and its group's.
pub type Account = (u32, u32);

/// The socket and its clients.
pub struct Desk {
    listener: OwnedFd,
    engine: Option<Account>,
    updater: Option<Account>,
    clients: [Option<Client>; MOST_CLIENTS],
}

impl Desk {
    /// Binds the socket, for root and for the users of engine and updater, if they have their own.
    ///
    /// # Errors
    /// As socket(2), bind(2), chmod(2), chown(2) or listen(2).
    pub fn bind(
        path: &Path,
        engine: Option<Account>,
        updater: Option<Account>,
    ) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::SEQPACKET;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
        let _ = fs::remove_file(path);
        rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
        if let Some((_, group)) = engine {
            std::os::unix::fs::chown(path, None, Some(group))?;
        }
        let mode = if engine.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        rustix::net::listen(&listener, QUEUE)?;
        Ok(Self {
            listener,
            engine,
            updater,
            clients: [const { None }; MOST_CLIENTS],
        })
    }

    /// The end that new clients come to.
    #[must_use]
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The client's socket, while it is there.
    #[must_use]
    pub fn socket(&self, client: usize) -> Option<BorrowedFd<'_>> {
        Some(self.clients.get(client)?.as_ref()?.socket.as_fd())
    }

    /// Whether another client may come; else it waits in the queue of the socket.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.clients.iter().any(Option::is_none)
    }

    /// Lets one client in; its number, or nothing when there is none, it is a stranger, or all
    /// places are taken.
    pub fn accept(&mut self) -> Option<usize> {
        let place = self.clients.iter().position(Option::is_none)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::accept_with(&self.listener, flags).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
        let who = self.who(peer.uid.as_raw())?;
        self.clients[place] = Some(Client {
            socket,
            who,
            outbox: Outbox::default(),
        });
        Some(place)
    }

    fn who(&self, uid: u32) -> Option<Who> {
        let is = |account: Option<Account>| account.is_some_and(|(known, _)| known == uid);
        match uid {
            0 => Some(Who::Root),
            _ if is(self.engine) => Some(Who::Engine),
            _ if is(self.updater) => Some(Who::Updater),
            _ => None,
        }
    }

    /// Tells every subscriber that a container has exited. Sent by [`Desk::flush`].
    pub fn exited(&mut self, slot: usize) {
        self.clients
            .iter_mut()
            .flatten()
            .for_each(|client| client.outbox.exited(slot));
    }

    /// Serves a client that has something to say or takes again what is due: at most one request.
    pub fn serve(
        &mut self,
        client: usize,
        table: &mut Table<OwnedFd>,
        door: Door,
    ) -> (Wants, Option<Wish>) {
        let wants = self.flush(client, table);
        if wants != Wants::Read {
            return (wants, None);
        }
        let Some(Some(who)) = self.clients.get_mut(client) else {
            return (Wants::Nothing, None);
        };
        let wish = match receive(&who.socket) {
            Received::Request(request, fds) => self.answer(client, request, fds, table, door),
            Received::Nothing => return (Wants::Read, None),
            Received::Gone => {
                self.clients[client] = None;
                return (Wants::Nothing, None);
            }
        };
        (self.flush(client, table), wish)
    }

    /// Sends what is due as far as the client takes it.
    pub fn flush(&mut self, client: usize, table: &Table<OwnedFd>) -> Wants {
        let Some(Some(who)) = self.clients.get_mut(client) else {
            return Wants::Nothing;
        };
        while let Some(due) = who.outbox.due(table) {
            let stdio = due
                .stdio_of
                .and_then(|index| table.get(index))
                .map(|taken| &taken.stdio);
            match send(&who.socket, &due.reply, stdio) {
                Ok(()) => who.outbox.sent(&due),
                Err(rustix::io::Errno::AGAIN) => return Wants::Write,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    self.clients[client] = None;
                    return Wants::Nothing;
                }
            }
        }
        Wants::Read
    }

    fn answer(
        &mut self,
        client: usize,
        request: Result<Request, ErrorCode>,
        fds: Fds,
        table: &mut Table<OwnedFd>,
        door: Door,
    ) -> Option<Wish> {
        let who = self.clients[client].as_ref()?.who;
        let (reply, wish) = match request {
            Ok(request) if !may(who, &request) => (Err(ErrorCode::NotAllowed), None),
            Ok(Request::Register { .. }) if door == Door::Closed => {
                (Err(ErrorCode::ShuttingDown), None)
            }
            Ok(Request::Register { id, pid }) => (register(id, pid, fds, table, door), None),
            Ok(Request::Release { id }) => (self.release(id, table), None),
            Ok(Request::Stamp { name, kind }) => (Ok(0), Some(Wish::Stamp(kind, name))),
            Ok(Request::Power(power)) => (Ok(0), Some(Wish::Power(power))),
            Ok(request) => {
                let outbox = &mut self.clients[client].as_mut()?.outbox;
                if request == Request::List {
                    outbox.list();
                    return None;
                }
                outbox.subscribe();
                (Ok(0), None)
            }
            Err(code) => (Err(code), None),
        };
        let reply = match reply {
            Ok(slot) => Reply::Ok {
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
            },
            Err(code) => Reply::Error(code),
        };
        self.clients[client].as_mut()?.outbox.owe(reply);
        wish
    }

    fn release(
        &mut self,
        id: formats::registration::Id,
        table: &mut Table<OwnedFd>,
    ) -> Result<usize, ErrorCode> {
        let (slot, _closed) = table.release(id)?;
        self.clients
            .iter_mut()
            .flatten()
            .for_each(|client| client.outbox.released(slot));
        Ok(0)
    }
}

/// Descriptors of one message: the pidfd and the stdio ends, as far as they came.
type Fds = [Option<OwnedFd>; 1 + MAX_STDIO];

enum Received {
    Request(Result<Request, ErrorCode>, Fds),
    Nothing,
    Gone,
}

/// Power is root's alone, but for the updater's reboot, and that is all that it may ask for.
fn may(who: Who, request: &Request) -> bool {
    match (who, request) {
        (Who::Root, _) | (Who::Updater, Request::Power(Power::Reboot)) => true,
        (Who::Engine, request) => !matches!(request, Request::Power(_)),
        (Who::Updater, _) => false,
    }
}

fn register(
    id: formats::registration::Id,
    pid: u32,
    fds: Fds,
    table: &mut Table<OwnedFd>,
    door: Door,
) -> Result<usize, ErrorCode> {
    table.room_for(id)?;
    let [pidfd, stdio @ ..] = fds;
    let pidfd = pidfd.ok_or(ErrorCode::Malformed)?;
    let start_ticks = child::verify(pid, pidfd.as_fd())?;
    if door == Door::Cgroups {
        child::verify_place(pid, id)?;
    }
    let slot = Slot {
        id,
        pid,
        start_ticks,
        exit: None,
    };
    table.register(Taken { slot, pidfd, stdio })
}

fn receive(socket: &OwnedFd) -> Received {
    let mut bytes = [0u8; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1 + MAX_STDIO))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    );
    let message = match message {
        Ok(message) if message.bytes > 0 => message,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Received::Nothing,
        _ => return Received::Gone,
    };
    let mut fds: Fds = [const { None }; 1 + MAX_STDIO];
    let came = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    for (place, fd) in fds.iter_mut().zip(came.flatten()) {
        *place = Some(fd);
    }
    let cut = message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let request = match bytes.get(..message.bytes).filter(|_| !cut) {
        Some(bytes) => Request::decode(bytes),
        None => Err(ErrorCode::Malformed),
    };
    Received::Request(request, fds)
}

fn send(
    socket: &OwnedFd,
    reply: &Reply,
    stdio: Option<&[Option<OwnedFd>; MAX_STDIO]>,
) -> rustix::io::Result<()> {
    let message = reply.encode();
    let mut fds = [socket.as_fd(); MAX_STDIO];
    let mut count = 0;
    for fd in stdio.into_iter().flatten().flatten() {
        fds[count] = fd.as_fd();
        count += 1;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STDIO))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if count > 0 {
        control.push(SendAncillaryMessage::ScmRights(&fds[..count]));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(message.bytes())],
        &mut control,
        flags,
    )
    .map(|_| ())
}
