//! What a daemon tells its supervisor: ready, status, alive (sd_notify(3)).
//!
//! Without a supervisor that listens, nothing is told and nothing fails; and nobody is waited for.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The supervisor's ear.
#[derive(Debug)]
pub struct Supervisor {
    ear: Option<(UnixDatagram, SocketAddr)>,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET` (a path, or `@` and an abstract name).
    #[must_use]
    pub fn from_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET");
        let ear = name.and_then(|name| open(name.as_bytes()).ok());
        Self { ear }
    }

    /// Nobody listens.
    #[must_use]
    pub fn none() -> Self {
        Self { ear: None }
    }

    /// Tells `text`, lines of `NAME=value`. A supervisor that does not read misses it.
    pub fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.ear
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            tracing::debug!("notify {address:?}: {error}");
        }
    }
}

fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_heard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.sock");
        let name = format!("skeg-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let ears = [
            (path.display().to_string(), UnixDatagram::bind(&path)),
            (format!("@{name}"), UnixDatagram::bind_addr(&address)),
        ];
        for (told, ear) in ears {
            let supervisor = Supervisor {
                ear: Some(open(told.as_bytes()).unwrap()),
            };
            supervisor.tell("READY=1");
            let mut text = [0; 16];
            let length = ear.unwrap().recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
    }
}
