//! The socket on which a container tells that it is ready: sd_notify(3), bound by the engine, kept by PID 1.
//!
//! It heeds `READY=1` and nothing else, and hears no more than a hundred datagrams a second.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use formats::notify::MAX_DATAGRAM;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::container::Container;
use super::error::Error;
use super::machine::Event;
use super::options::ReadyBy;
use super::record::{Config, Process};
use crate::container::defaults::Bind;
use crate::watched::watched;

/// The folder of the socket in the container, as podman has it.
pub const TARGET: &str = "/run/notify";
/// The socket in that folder.
pub const NAME: &str = "notify.sock";

/// Between two datagrams: who floods the socket waits, and nobody else does.
const PAUSE: Duration = Duration::from_millis(10);

/// What is mounted for it, if the container has one.
pub fn bind(run: &Path, config: &Config) -> Option<Bind> {
    Some(Bind {
        source: folder(run, config)?,
        target: TARGET.into(),
        read_only: true,
        options: Vec::new(),
    })
}

/// The folder of a container's socket on the host, if it has one.
fn folder(run: &Path, config: &Config) -> Option<PathBuf> {
    let ready = config.options.ready?;
    (ready.by == ReadyBy::Notify).then(|| place(run, &config.id))
}

/// A socket's path has at most 107 bytes.
fn place(run: &Path, id: &str) -> PathBuf {
    run.join("notify").join(id.get(..32).unwrap_or(id))
}

/// Binds the socket of a container that has one, anew.
///
/// # Errors
/// What the file system says.
pub fn open(run: &Path, config: &Config) -> Result<Option<OwnedFd>, Error> {
    let Some(folder) = folder(run, config) else {
        return Ok(None);
    };
    let made = || -> io::Result<OwnedFd> {
        remove(run, &config.id);
        fs::create_dir_all(&folder)?;
        // Whatever user the program becomes. The folder above is the engine's alone.
        let above = folder.parent().unwrap_or(run);
        fs::set_permissions(above, Permissions::from_mode(0o700))?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let path = folder.join(NAME);
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    let made = made().map_err(|e| Error::file("make a socket in", &folder, &e))?;
    Ok(Some(made))
}

/// Removes a container's socket; one that is not there is no error.
pub fn remove(run: &Path, id: &str) {
    let folder = place(run, id);
    if let Err(e) = super::shelf::remove_tree(&folder) {
        tracing::warn!("remove {}: {e}", folder.display());
    }
}

/// Hears for as long as it is there.
#[derive(Debug)]
pub struct Hearing(JoinHandle<()>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Hears what comes on a container's socket.
///
/// # Errors
/// When the socket cannot be watched.
pub fn listen(
    socket: OwnedFd,
    container: Weak<Container>,
    process: Process,
) -> io::Result<Hearing> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let socket = watched(socket)?;
    Ok(Hearing(tokio::spawn(hear(socket, container, process))))
}

async fn hear(socket: AsyncFd<OwnedFd>, container: Weak<Container>, process: Process) {
    let mut datagram = [0; MAX_DATAGRAM];
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        // By `read`: descriptors that come along are closed, which is all that a barrier asks for.
        match rustix::io::read(socket.get_ref(), &mut datagram) {
            Ok(n) => {
                if formats::notify::parse(&datagram[..n]).ready
                    && let Some(container) = container.upgrade()
                {
                    let _ = container.tell(Event::Ready { process }).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => {
                tracing::warn!("read a container's notify socket: {e}");
                return;
            }
        }
    }
}
