//! What the daemon tells PID 1: ready, status, alive (`sd_notify`).
//!
//! Without a supervisor that listens, nothing is told and nothing fails.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// The supervisor's ear.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, PathBuf)>,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET`.
    pub fn from_environment() -> Supervisor {
        let path = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        let socket = path.and_then(|path| Some((UnixDatagram::unbound().ok()?, path)));
        Supervisor { socket }
    }

    /// Nobody listens.
    pub fn none() -> Supervisor {
        Supervisor { socket: None }
    }

    /// Tells `text`, lines of `NAME=value`.
    pub fn tell(&self, text: &str) {
        if let Some((socket, path)) = &self.socket
            && let Err(error) = socket.send_to(text.as_bytes(), path)
        {
            tracing::debug!("notify {}: {error}", path.display());
        }
    }
}
