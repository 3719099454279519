//! The child's waits: for its parent, and for whoever starts it.
//!
//! Each ends when the other end is gone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Child;
use crate::container::failure::Failure;

/// How a child learns that it may exec.
pub(crate) enum Start {
    /// By a byte, from who has made it.
    Pipe(OwnedFd),
    /// By a byte on a connection that anybody with the socket's path makes, who is then told.
    Socket(OwnedFd),
}

impl Start {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(fd) | Self::Socket(fd) => fd.as_fd(),
        }
    }
}

/// Waits for the parent's line; without a parent there is no way on.
pub(super) fn go(child: &Child) -> Result<String, Failure> {
    let gone = || Failure::refused("set-up", "", "the parent has gone");
    let pipe = child.go.as_ref().ok_or_else(gone)?;
    let mut line = Vec::new();
    let mut byte = [0u8];
    loop {
        match rustix::io::read(pipe, &mut byte) {
            Ok(1) if byte[0] == b'\n' => break,
            Ok(1) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return Err(gone()),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Waits for one byte; false at the end.
pub(super) fn told(from: &OwnedFd) -> bool {
    let mut byte = [0u8];
    loop {
        match rustix::io::read(from, &mut byte) {
            Err(rustix::io::Errno::INTR) => {}
            read => return read == Ok(1),
        }
    }
}

pub(super) fn accept(socket: &OwnedFd) -> Result<OwnedFd, rustix::io::Errno> {
    loop {
        match rustix::net::accept_with(socket, rustix::net::SocketFlags::CLOEXEC) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
            accepted => return accepted,
        }
    }
}

/// The state that hooks are told, once the container is created.
pub(super) fn created(state: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(state) else {
        return String::new();
    };
    value["status"] = "created".into();
    value.to_string()
}
