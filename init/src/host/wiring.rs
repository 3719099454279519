//! What the host waits on: signals, sockets, logs, buttons; and the process's own limits.
//!
//! It opens and registers, and handles no event.

use super::Host;
use crate::journal::Journal;
use crate::slots::desk::Wants;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Descriptors that PID 1 may hold: a pidfd and four stdio ends for each slot, stores and logs.
const OPEN_FILES: u64 = 65_536;

/// What an event is about, as the number that epoll keeps for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Signals,
    Mail,
    Control,
    Devices,
    Kernel,
    Log(usize),
    Tasks(usize),
    Client(usize),
    Button(usize),
}

impl Token {
    pub(super) fn to_u64(self) -> u64 {
        let (kind, index) = match self {
            Self::Signals => (0, 0),
            Self::Mail => (1, 0),
            Self::Control => (2, 0),
            Self::Devices => (3, 0),
            Self::Log(index) => (4, index),
            Self::Client(index) => (5, index),
            Self::Button(index) => (6, index),
            Self::Kernel => (7, 0),
            Self::Tasks(index) => (8, index),
        };
        (kind << 32) | index as u64
    }

    pub(super) fn from_u64(number: u64) -> Option<Self> {
        let index = usize::try_from(number & 0xffff_ffff).ok()?;
        Some(match number >> 32 {
            0 => Self::Signals,
            1 => Self::Mail,
            2 => Self::Control,
            3 => Self::Devices,
            4 => Self::Log(index),
            5 => Self::Client(index),
            6 => Self::Button(index),
            7 => Self::Kernel,
            8 => Self::Tasks(index),
            _ => return None,
        })
    }
}

/// Signals that are read from a descriptor, and therefore blocked.
fn handled() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGPWR,
    ] {
        set.add(signal);
    }
    set
}

/// Limits and signals of PID 1 itself.
pub(super) fn prepare_process() -> io::Result<()> {
    let _ = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, 524_288);
    handled().thread_block().map_err(Into::into)
}

pub(super) fn signals() -> io::Result<SignalFd> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&handled(), flags).map_err(Into::into)
}

pub(super) fn open_null() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(Into::into)
}

impl Host {
    pub(super) fn wire(&self) -> io::Result<()> {
        self.watch(&self.signals, Token::Signals)?;
        self.watch(&self.mailbox, Token::Mail)?;
        self.watch(self.desk.listener(), Token::Control)?;
        if let Some(uevents) = &self.uevents {
            self.watch(uevents, Token::Devices)?;
        }
        if let Some(kmsg) = self.journal.as_ref().and_then(Journal::kmsg) {
            // Each message once: they stay in the kernel until the journal is written.
            let data = EventData::new_u64(Token::Kernel.to_u64());
            epoll::add(&self.epoll, kmsg, data, EventFlags::IN | EventFlags::ET)?;
        }
        for (index, run) in self.runs.iter().enumerate() {
            if let Some(log) = &run.log {
                self.watch(log.reader(), Token::Log(index))?;
            }
        }
        Ok(())
    }

    fn watch(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        let data = EventData::new_u64(token.to_u64());
        epoll::add(&self.epoll, fd, data, EventFlags::IN).map_err(Into::into)
    }

    /// Waits for new clients, or lets them queue while every place is taken.
    pub(super) fn listen(&mut self, open: bool) {
        if open == self.listening {
            return;
        }
        let flags = if open {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        let data = EventData::new_u64(Token::Control.to_u64());
        if epoll::modify(&self.epoll, self.desk.listener(), data, flags).is_ok() {
            self.listening = open;
        }
    }

    /// Waits for what the client wants; a client that is gone left epoll with its descriptor.
    pub(super) fn watch_client(&self, client: usize, wants: Wants, new: bool) {
        let flags = match wants {
            Wants::Read => EventFlags::IN,
            Wants::Write => EventFlags::OUT,
            Wants::Nothing => return,
        };
        let data = EventData::new_u64(Token::Client(client).to_u64());
        if let Some(socket) = self.desk.socket(client) {
            let _ = match new {
                true => epoll::add(&self.epoll, socket, data, flags),
                false => epoll::modify(&self.epoll, socket, data, flags),
            };
        }
    }

    pub(super) fn look_for_buttons(&mut self) {
        let first = self
            .buttons
            .look(&self.places.inputs, Path::new("/dev/input"));
        for button in first.. {
            let Some(fd) = self.buttons.fd(button) else {
                return;
            };
            let _ = self.watch(fd, Token::Button(button));
        }
    }

    /// Waits until the service is refused a process; told once, then no more.
    pub(super) fn watch_tasks(&self, index: usize, file: &std::fs::File) {
        let data = EventData::new_u64(Token::Tasks(index).to_u64());
        let flags = EventFlags::PRI | EventFlags::ONESHOT;
        let _ = epoll::add(&self.epoll, file, data, flags);
    }

    /// Stops waiting on a button that is gone.
    pub(super) fn forget_button(&self, button: usize) {
        if let Some(fd) = self.buttons.fd(button) {
            let _ = epoll::delete(&self.epoll, fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_its_number() {
        for token in [
            Token::Signals,
            Token::Mail,
            Token::Control,
            Token::Devices,
            Token::Kernel,
            Token::Log(3),
            Token::Client(15),
            Token::Button(7),
            Token::Tasks(2),
        ] {
            assert_eq!(Token::from_u64(token.to_u64()), Some(token));
        }
        assert_eq!(Token::from_u64(u64::MAX), None);
    }
}
