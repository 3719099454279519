//! A descriptor in the event loop.
//!
//! The one place that registers a bare descriptor; it takes only what owns it.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches `fd`, which has to be non-blocking.
///
/// # Errors
/// What epoll says, e.g. that a regular file cannot be watched.
// Deprecated for types whose descriptor may change under the loop; an `OwnedFd` cannot.
#[expect(deprecated)]
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}
