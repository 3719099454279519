//! What the engine tells its supervisor (sd_notify(3)).
//!
//! Without `NOTIFY_SOCKET` it says nothing: started by hand, nobody listens.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// The way to the supervisor.
#[derive(Debug)]
pub struct Notify {
    socket: Option<(UnixDatagram, PathBuf)>,
}

impl Notify {
    /// From the environment.
    pub fn from_env() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        let socket = path.zip(UnixDatagram::unbound().ok());
        let socket = socket.map(|(path, socket)| {
            // A supervisor that does not read must not stop the engine.
            let _ = socket.set_nonblocking(true);
            (socket, path)
        });
        Self { socket }
    }

    /// Sends lines such as `READY=1`.
    pub fn send(&self, text: &str) {
        if let Some((socket, path)) = &self.socket
            && let Err(e) = socket.send_to(text.as_bytes(), path)
        {
            tracing::debug!("notify {}: {e}", path.display());
        }
    }
}
