//! A pseudo-terminal for one child: its two ends, its size, bytes to and from it.
//!
//! It interprets nothing: line discipline is the kernel's.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, read, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;

/// Columns and rows, as a client tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Signs in a line.
    pub columns: u32,
    /// Lines.
    pub rows: u32,
}

/// Deprecated for the sake of types whose descriptor may change: an `OwnedFd` keeps its own.
#[allow(deprecated)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

/// Our end.
#[derive(Debug)]
pub struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Makes a terminal that is the command's standard input, output, error and controlling one.
    ///
    /// # Errors
    /// As the system calls.
    pub fn give(command: &mut Command, size: Size) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, Mode::empty())?;
        command.stdin(Stdio::from(theirs.try_clone()?));
        command.stdout(Stdio::from(theirs.try_clone()?));
        command.stderr(Stdio::from(theirs));
        sys::process::lead_terminal(command);
        rustix::io::ioctl_fionbio(&ours, true)?;
        let terminal = Self(watched(ours)?);
        terminal.resize(size);
        Ok(terminal)
    }

    /// Tells the programs on it how large it is.
    pub fn resize(&self, size: Size) {
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let size = Winsize {
            ws_col: number(size.columns),
            ws_row: number(size.rows),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let _ = tcsetwinsize(self.0.get_ref(), size);
    }

    /// Bytes that its programs wrote; 0 when no program has it open any more.
    ///
    /// # Errors
    /// As read(2).
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = |fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]| match read(fd.get_ref(), buffer) {
            // What a terminal says when its other end is closed.
            Err(Errno::IO) => Ok(0),
            other => other.map_err(io::Error::from),
        };
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(outcome) = ready.try_io(|fd| one(fd, buffer)) {
                return outcome;
            }
        }
    }

    /// Types the bytes.
    ///
    /// # Errors
    /// As write(2).
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            let outcome = ready.try_io(|fd| Ok(write(fd.get_ref(), bytes)?));
            if let Ok(count) = outcome {
                bytes = &bytes[count?..];
            }
        }
        Ok(())
    }
}
