//! A Unix socket of a guest on the host: the guest's end hands it on over TCP, the host's end takes it back.
//!
//! Bytes only; it knows no protocol, and passes no descriptors.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::spawn;

/// In the guest: each connection to `port` becomes one to `socket`. Ends with the process.
///
/// # Errors
/// The port cannot be listened at.
pub fn hand_on(port: u16, socket: &Path) -> io::Result<()> {
    for stream in TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?.incoming() {
        let (stream, socket) = (stream?, socket.to_path_buf());
        spawn(move || UnixStream::connect(socket).map(|unix| join(unix, stream)));
    }
    Ok(())
}

/// On the host: each connection to `socket` becomes one to `port`. Ends with the process.
///
/// # Errors
/// The socket cannot be made.
pub fn take_back(socket: &Path, port: u16) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(|tcp| join(stream, tcp))
            });
        }
    });
    Ok(())
}

/// Copies both ways until both are over.
fn join(unix: UnixStream, tcp: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (unix.try_clone()?, tcp.try_clone()?);
    let there = spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write)
    });
    let (mut from, mut to) = (tcp, unix);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = there.join();
    Ok(())
}
