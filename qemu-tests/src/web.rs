//! What a test needs of HTTP: a page, as a user's browser would get it.
//!
//! HTTP/1.0, one request a connection. It is no client for anything else.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port of the loopback that nobody listens on.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("probe a free port")?;
    Ok(probe.local_addr().context("probe a free port")?.port())
}

/// Gets `path` from a server on the loopback: status and body.
///
/// # Errors
/// No connection, or no HTTP.
pub fn get(port: u16, path: &str, timeout: Duration) -> Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok((status.context("the answer has no status")?, body.to_owned()))
}

/// Gets a page that must come with status 200, asking again until the deadline: QEMU accepts
/// connections for a guest that does not listen yet.
///
/// # Errors
/// What the last attempt said.
pub fn page(port: u16, path: &str, timeout: Duration) -> Result<String> {
    let deadline = Instant::now() + timeout;
    loop {
        let last = match get(port, path, Duration::from_secs(10)) {
            Ok((200, body)) => return Ok(body),
            Ok((status, body)) => format!("status {status}: {body}"),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!(
                "no page on port {port} in {} s; at last: {last}",
                timeout.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
