//! What the daemon tells PID 1: ready, status, alive (`sd_notify`).
//!
//! Without a supervisor that listens, nothing is told and nothing fails.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// The supervisor's ear.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, PathBuf)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Supervisor {
        let path = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        let socket = path.and_then(|path| Some((UnixDatagram::unbound().ok()?, path)));
        let micros = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok());
        Supervisor {
            socket,
            watchdog: micros.map(Duration::from_micros),
        }
    }

    /// Nobody listens.
    pub fn none() -> Supervisor {
        Supervisor {
            socket: None,
            watchdog: None,
        }
    }

    /// How often to say `WATCHDOG=1`: twice in the time that the supervisor allows.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog
            .map(|allowed| allowed / 2)
            .filter(|pulse| !pulse.is_zero())
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
