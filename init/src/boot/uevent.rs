//! The kernel's device events (netlink `KOBJECT_UEVENT`): one datagram, zero-separated `KEY=VALUE`.
//!
//! It only says that something has changed; who waits for a device then looks again.

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Events that are read at once: a flood of them must not keep PID 1 from its other work.
const MOST_EVENTS: usize = 256;

/// A socket that hears the kernel's device events.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Uevents {
    /// Starts to listen. Open it before looking for devices, so that none falls between.
    ///
    /// # Errors
    /// As socket(2) and bind(2).
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::DGRAM;
        let family = AddressFamily::NETLINK;
        let socket = rustix::net::socket_with(family, kind, flags, Some(KOBJECT_UEVENT))?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self { socket })
    }

    /// Reads what has come, a bounded number at a time, and says whether a device of this subsystem was among it. Events that
    /// were lost for want of room count as such.
    pub fn drain(&self, subsystem: &str) -> bool {
        let mut buffer = [0u8; 4096];
        let mut seen = false;
        for _ in 0..MOST_EVENTS {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => seen |= is_of(&buffer[..length.min(4096)], subsystem),
                Err(rustix::io::Errno::NOBUFS) => seen = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return seen,
            }
        }
        seen
    }
}

fn is_of(datagram: &[u8], subsystem: &str) -> bool {
    let value = |field: &[u8]| {
        field
            .strip_prefix(b"SUBSYSTEM=")
            .is_some_and(|v| v == subsystem.as_bytes())
    };
    datagram.split(|b| *b == 0).any(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsystem_is_compared_as_a_whole_word() {
        let datagram = b"add@/devices/x\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vda\0";
        assert!(is_of(datagram, "block"));
        assert!(!is_of(datagram, "bloc"));
        assert!(!is_of(b"", "block"));
    }
}
