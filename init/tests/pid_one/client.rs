//! A client of the control socket, as the engine is one.
//!
//! It speaks `formats::registration` and nothing else.

use formats::registration::{MAX_MESSAGE, Reply, Request};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub struct Client(OwnedFd);

impl Client {
    pub fn connect(folder: &Path) -> Self {
        let kind = SocketType::SEQPACKET;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
                .unwrap();
        let address = SocketAddrUnix::new(folder.join("init.sock")).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Self(socket)
    }

    pub fn send(&self, request: Request, fds: &[BorrowedFd<'_>]) {
        self.send_bytes(request.encode().bytes(), fds);
    }

    pub fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        rustix::net::sendmsg(
            &self.0,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
    }

    pub fn receive(&self) -> (Reply, Vec<OwnedFd>) {
        let mut bytes = [0u8; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = rustix::net::recvmsg(&self.0, slices, &mut control, flags)
            .unwrap()
            .bytes;
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = part {
                fds.extend(came);
            }
        }
        (Reply::decode(&bytes[..length]).unwrap(), fds)
    }

    /// Sends a request and returns its answer.
    pub fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Reply {
        self.send(request, fds);
        self.receive().0
    }

    /// All entries of a list.
    pub fn list(&self) -> Vec<(formats::registration::Slot, Vec<OwnedFd>)> {
        self.send(Request::List, &[]);
        let mut entries = Vec::new();
        loop {
            match self.receive() {
                (Reply::Entry(slot), fds) => entries.push((slot, fds)),
                (Reply::End, _) => return entries,
                (Reply::Exit(_), _) => {}
                (other, _) => panic!("unexpected in a list: {other:?}"),
            }
        }
    }
}
