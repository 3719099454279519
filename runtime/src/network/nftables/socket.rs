//! The edge: sends a transaction to the kernel and reads its verdict.
//!
//! Knows no rules. The kernel handles a transaction within the send, so its answers, which are only
//! refusals, are all there when it returns: nothing waits.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::batch::Batch;
use super::reply::first_refusal;
use crate::network::error::Error;

/// Room for one datagram of answers.
const ANSWER: usize = 16 * 1024;
/// The kernel's own bookkeeping beside the bytes of a datagram.
const OVERHEAD: usize = 64 * 1024;

/// Applies `batch` whole, or not at all: then the error names the refused step.
pub fn apply(batch: &Batch) -> Result<(), Error> {
    exchange(batch).map_err(|(step, source)| Error::Rules {
        operation: step.to_owned(),
        source,
    })
}

fn exchange(batch: &Batch) -> Result<(), (&str, io::Error)> {
    let socket = open(batch.as_bytes().len()).map_err(|error| ("open nf_tables socket", error))?;
    socket
        .send(batch.as_bytes(), 0)
        .map_err(|error| ("send nf_tables transaction", error))?;
    let mut answer = vec![0; ANSWER];
    loop {
        match recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                if let Some(refusal) = first_refusal(&answer[..length]) {
                    return Err((batch.step(refusal.sequence), refusal.source));
                }
            }
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(("read nf_tables answer", error.into())),
        }
    }
}

fn open(length: usize) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    setsockopt(&socket, sockopt::SndBufForce, &(2 * length + OVERHEAD))?;
    Ok(socket)
}
