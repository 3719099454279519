//! What PID 1 is asked and told: reboot, and that this service is ready.
//!
//! One request, one answer; the host goes down in order after it.

use formats::registration::{MAX_MESSAGE, Power, Reply, Request};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Asks for an orderly reboot.
///
/// # Errors
/// PID 1 does not listen, or refuses.
pub fn reboot(path: &Path) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    send(
        &socket,
        Request::Power(Power::Reboot).encode().bytes(),
        SendFlags::NOSIGNAL,
    )?;
    let mut bytes = [0; MAX_MESSAGE];
    let (length, _) = recv(&socket, &mut bytes, RecvFlags::empty())?;
    match Reply::decode(&bytes[..length]) {
        Ok(Reply::Ok { .. }) => Ok(()),
        other => Err(io::Error::other(format!("PID 1 answered {other:?}"))),
    }
}

/// Sends lines such as `READY=1` (sd_notify(3)); without a supervisor nobody listens.
pub fn notify(text: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|s| s.send_to(text.as_bytes(), socket));
    if let Err(e) = sent {
        tracing::debug!("notify: {e}");
    }
}
