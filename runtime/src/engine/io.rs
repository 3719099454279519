//! A container's standard streams on the engine's side: pumps into the log, input from clients.
//!
//! It never buffers: what the log cannot take stays in the pipe, and the container waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionbio, write};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock;
use super::log::Stream;
use super::log::write::{Taken, Writer};
use crate::watched::watched;

/// How long a pump waits after the log could not be written, e.g. on a full disk.
const PAUSE: Duration = Duration::from_millis(500);

/// The log of one container, with a bell for those who follow it.
#[derive(Debug)]
pub struct Log {
    writer: Mutex<Option<Writer>>,
    folder: std::path::PathBuf,
    bell: watch::Sender<u64>,
}

impl Log {
    /// Opens nothing yet.
    pub fn new(folder: std::path::PathBuf) -> Self {
        Self {
            writer: Mutex::new(None),
            folder,
            bell: watch::Sender::new(0),
        }
    }

    /// Where the segments lie.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Rings after each write.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    /// Waits until nobody follows.
    pub async fn unfollowed(&self) {
        self.bell.closed().await;
    }

    /// Closes the files until the next write.
    pub fn close(&self) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn take(&self, stream: Stream, pipe: &AsyncFd<OwnedFd>) -> io::Result<Taken> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Some(Writer::open(&self.folder)?);
        }
        let Some(open) = writer.as_mut() else {
            return Ok(Taken::End);
        };
        let taken = open.take(stream, pipe.get_ref().as_fd(), clock::wall_ns())?;
        if let Taken::Bytes(_) = taken {
            self.bell.send_modify(|count| *count += 1);
        }
        Ok(taken)
    }
}

/// The engine's ends.
#[derive(Debug, Default)]
pub struct Streams {
    pumps: Vec<JoinHandle<()>>,
    input: Option<Arc<AsyncFd<OwnedFd>>>,
    terminal: bool,
}

impl Streams {
    /// Takes the ends in the order of the registration: a terminal's master, or output and error.
    ///
    /// # Errors
    /// When an end cannot be watched.
    pub fn open(
        log: &Arc<Log>,
        ends: Vec<OwnedFd>,
        stdin: Option<OwnedFd>,
        terminal: bool,
    ) -> io::Result<Self> {
        let mut streams = Self::default();
        streams.terminal = terminal;
        for (end, stream) in ends.into_iter().zip([Stream::Stdout, Stream::Stderr]) {
            ioctl_fionbio(&end, true)?;
            let end = Arc::new(watched(end)?);
            if terminal {
                streams.input = Some(end.clone());
            }
            streams
                .pumps
                .push(tokio::spawn(pump(log.clone(), stream, end)));
        }
        if let Some(stdin) = stdin {
            ioctl_fionbio(&stdin, true)?;
            streams.input = Some(Arc::new(watched(stdin)?));
        }
        Ok(streams)
    }

    /// Where a client's input goes.
    pub fn input(&self) -> Option<Arc<AsyncFd<OwnedFd>>> {
        self.input.clone()
    }

    /// No more input. A terminal stays: its end is the program's to see as a character.
    pub fn close_input(&mut self) {
        if !self.terminal {
            self.input = None;
        }
    }

    /// Waits until everything that a dead container wrote is in the log.
    pub async fn drain(&mut self, patience: Duration) {
        self.input = None;
        for pump in &mut self.pumps {
            if tokio::time::timeout(patience, &mut *pump).await.is_err() {
                tracing::warn!("a stream of an ended container stays open: somebody holds it");
                pump.abort();
            }
        }
        self.pumps.clear();
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for pump in &self.pumps {
            pump.abort();
        }
    }
}

async fn pump(log: Arc<Log>, stream: Stream, pipe: Arc<AsyncFd<OwnedFd>>) {
    let mut told = false;
    loop {
        let Ok(mut ready) = pipe.readable().await else {
            return;
        };
        match log.take(stream, &pipe) {
            Ok(Taken::Bytes(_)) => {
                told = false;
                tokio::task::yield_now().await;
            }
            Ok(Taken::Nothing) => ready.clear_ready(),
            Ok(Taken::End) => return,
            Err(e) => {
                // Once, not twice a second for as long as the disk is full.
                if !std::mem::replace(&mut told, true) {
                    let folder = log.folder.display();
                    tracing::error!(
                        "write log {folder}: {e}; the container waits until it can be written"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Writes all of a client's input.
///
/// # Errors
/// When the other side is gone.
pub async fn feed(to: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = to.writable().await?;
        match write(to.get_ref(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Tells a terminal its size.
pub fn resize(terminal: &AsyncFd<OwnedFd>, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let _ = tcsetwinsize(terminal.get_ref(), size);
}
