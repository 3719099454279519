//! QEMU as a process, and the sockets at which it reports.
//!
//! It knows nothing of guests: `machine` does.

use crate::command::{Parts, arguments};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long QEMU may take to come up, firmware and guest not counted.
const COME_UP: Duration = Duration::from_secs(30);

/// The process.
pub(crate) struct Qemu {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Qemu {
    pub(crate) fn spawn(parts: &Parts, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = dies_with_us("qemu-system-x86_64")
            .args(arguments(parts))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("clone the log")?)
            .stderr(output)
            .spawn()
            .context("start qemu-system-x86_64 (package qemu-system-x86)")?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        error.context(format!("QEMU said: {}", log.trim()))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that the kernel kills when the thread that started it ends.
pub(crate) fn dies_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// Sockets at which QEMU reports; in a short path, for a socket's name holds 107 bytes.
pub(crate) struct Sockets {
    folder: tempfile::TempDir,
    listeners: Vec<(&'static str, UnixListener)>,
}

impl Sockets {
    pub(crate) fn bind(agent: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("skeg-").tempdir();
        let folder = folder.context("create a folder for sockets")?;
        let mut listeners = Vec::new();
        for name in ["console", "qmp", "agent"] {
            if name == "agent" && !agent {
                continue;
            }
            let path = folder.path().join(name);
            let listener =
                UnixListener::bind(&path).with_context(|| format!("bind {}", path.display()))?;
            listener
                .set_nonblocking(true)
                .context("make a socket non-blocking")?;
            listeners.push((name, listener));
        }
        Ok(Self { folder, listeners })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for QEMU's connection, or for QEMU's end.
    pub(crate) fn accept(&self, name: &str, qemu: &mut Qemu) -> Result<UnixStream> {
        let listener = self.listeners.iter().find(|(n, _)| *n == name);
        let (_, listener) = listener.context("no such socket")?;
        let deadline = Instant::now() + COME_UP;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).context("set a socket up")?;
                    return Ok(stream);
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e).context("accept QEMU's connection"),
            }
            if let Ok(Some(status)) = qemu.child.try_wait() {
                let log = std::fs::read_to_string(&qemu.log).unwrap_or_default();
                bail!("QEMU ended at once ({status}): {}", log.trim());
            }
            if Instant::now() > deadline {
                bail!("QEMU did not come up in {} s", COME_UP.as_secs());
            }
            wait_readable(listener);
        }
    }
}

fn wait_readable(listener: &UnixListener) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut set = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut set, PollTimeout::from(100u8));
}
