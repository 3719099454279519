//! The `sd_notify` socket: datagrams with their sender's credentials and descriptors.
//!
//! It only receives. Who the sender is, and whether that service may say so, is decided elsewhere.

use formats::notify::MAX_DATAGRAM;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
};
use std::fs::{self, Permissions};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Descriptors that one datagram may carry.
pub const MOST_FDS: usize = 32;

/// The bound socket.
#[derive(Debug)]
pub struct Mailbox {
    socket: OwnedFd,
}

/// One datagram.
#[derive(Debug)]
pub struct Letter {
    /// The sender, as the kernel vouches; 0 when it is not known here, or the datagram was cut short.
    pub pid: u32,
    /// Descriptors that came along.
    pub fds: Vec<OwnedFd>,
    /// How much of the buffer is the text.
    pub length: usize,
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Mailbox {
    /// Binds the socket, writable for every user: services have their own.
    ///
    /// # Errors
    /// As socket(2), bind(2) or chmod(2).
    pub fn bind(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_passcred(&socket, true)?;
        let _ = fs::remove_file(path);
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        Ok(Self { socket })
    }

    /// The next datagram, if one has come.
    pub fn next(&self, text: &mut [u8; MAX_DATAGRAM]) -> Option<Letter> {
        loop {
            match self.receive(text) {
                Ok(letter) => return Some(letter),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn receive(&self, text: &mut [u8]) -> rustix::io::Result<Letter> {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(text)],
            &mut control,
            flags,
        )?;
        let mut letter = Letter {
            pid: 0,
            fds: Vec::new(),
            length: message.bytes,
        };
        for part in control.drain() {
            match part {
                RecvAncillaryMessage::ScmRights(fds) => letter.fds.extend(fds),
                RecvAncillaryMessage::ScmCredentials(sender) => {
                    letter.pid = sender.pid.as_raw_pid().unsigned_abs();
                }
                _ => {}
            }
        }
        let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        if message.flags.intersects(cut) {
            letter.pid = 0;
        }
        Ok(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_letter_names_its_sender() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.sock");
        let mailbox = Mailbox::bind(&path).unwrap();
        let mut text = [0; MAX_DATAGRAM];
        assert!(mailbox.next(&mut text).is_none());
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"READY=1", &path)
            .unwrap();
        let letter = mailbox.next(&mut text).unwrap();
        assert_eq!(letter.pid, std::process::id());
        assert_eq!(&text[..letter.length], b"READY=1");
    }
}
