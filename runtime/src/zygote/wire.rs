//! The zygote's wire: datagrams with descriptors, and a request's body in a sealed memory file.
//!
//! A datagram is small and fixed; what can grow lies in the file, so no socket buffer limits it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// No datagram has more descriptors.
pub(crate) const MAX_FDS: usize = 16;
/// No datagram is longer.
pub(crate) const MAX_DATAGRAM: usize = 4096;
/// No body is longer.
const MAX_BODY: u64 = 16 << 20;

/// Sends one datagram with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), rustix::io::Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::TOOBIG);
    }
    loop {
        match sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            done => return done.map(drop),
        }
    }
}

/// Receives one datagram with descriptors, which are close-on-exec. Empty: the peer has closed.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_DATAGRAM];
    let received = loop {
        match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            done => break done?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::other(
            "datagram was cut: too long or too many descriptors",
        ));
    }
    bytes.truncate(received.bytes);
    Ok((bytes, fds))
}

/// A sealed memory file that holds `value` as JSON.
pub(crate) fn body(value: &impl Serialize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("request", flags)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    rustix::fs::fcntl_add_seals(&file, sealed())?;
    Ok(file.into())
}

/// Reads such a file, which nobody can change any more.
pub(crate) fn read_body<T: DeserializeOwned>(fd: OwnedFd) -> io::Result<T> {
    if !rustix::fs::fcntl_get_seals(&fd)?.contains(sealed()) {
        return Err(io::Error::other("expected a sealed memory file"));
    }
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
    let mut text = Vec::new();
    File::from(fd).take(MAX_BODY).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn sealed() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// The user id of the process that connected `socket`.
pub(crate) fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket.as_fd())?
        .uid
        .as_raw())
}

/// The process of a pidfd, for as long as nobody has reaped it.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    // -1 once it is gone.
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    pid.ok_or_else(|| rustix::io::Errno::SRCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_body_and_its_descriptors_arrive_whole() {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let long = "x".repeat(1 << 20);
        let fd = body(&long).unwrap();
        send(a.as_fd(), b"hello", &[fd.as_fd(), a.as_fd()]).unwrap();
        let (bytes, mut fds) = receive(b.as_fd()).unwrap();
        assert_eq!((bytes.as_slice(), fds.len()), (&b"hello"[..], 2));
        let read: String = read_body(fds.remove(0)).unwrap();
        assert_eq!(read, long);
    }

    #[test]
    fn a_body_that_can_still_change_is_refused() {
        let fd = rustix::fs::memfd_create("request", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(read_body::<String>(fd).is_err());
    }

    #[test]
    fn a_process_is_known_by_its_pidfd_until_it_is_reaped() {
        let mut process = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&process);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let pidfd = pidfd.unwrap();
        assert_eq!(pid_of(pidfd.as_fd()).unwrap(), process.id());
        process.wait().unwrap();
        assert!(pid_of(pidfd.as_fd()).is_err());
    }
}
