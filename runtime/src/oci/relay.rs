//! The foreground: waiting for the end of a process, with its signals and its terminal in between.
//!
//! One poll over everything; nothing is lost at the end, since what the terminal still holds is read.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::error::Error;
use crate::zygote::wire;

/// The signals that are passed on.
const PASSED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// Signals that wait to be read.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks them from now on.
    pub(super) fn block() -> Result<Self, Error> {
        let set: SigSet = PASSED.into_iter().collect();
        set.thread_block()
            .map_err(|error| Error::io("sigprocmask", error))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags);
        fd.map(Self).map_err(|error| Error::io("signalfd", error))
    }
}

/// A pair of sockets on which a terminal's master comes: ours and the child's.
pub(super) fn console_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| Error::io("socketpair", error))
}

/// The master that has come.
pub(super) fn receive(console: &OwnedFd) -> Result<OwnedFd, Error> {
    let (_, mut fds) = wire::receive(console.as_fd()).map_err(|e| Error::io("terminal", e))?;
    fds.pop()
        .ok_or_else(|| Error::Other("terminal: none was sent".into()))
}

/// Takes a dead child away.
pub(super) fn reap(pidfd: &OwnedFd) {
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// Waits for the process, and returns its status as a shell does.
pub(super) fn until_end(
    pidfd: &OwnedFd,
    terminal: Option<OwnedFd>,
    signals: &Signals,
) -> Result<u8, Error> {
    let relayed = Relay::new(terminal);
    relayed.run(pidfd, signals)?;
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => break status,
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("waitid", error)),
        }
    };
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(9),
    };
    Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

struct Relay {
    terminal: Option<OwnedFd>,
    /// How our own terminal was, to be put back.
    before: Option<Termios>,
}

impl Relay {
    fn new(terminal: Option<OwnedFd>) -> Self {
        let stdin = rustix::stdio::stdin();
        let mut before = None;
        if let Some(terminal) = &terminal
            && let Ok(attributes) = tcgetattr(stdin)
        {
            let mut raw = attributes.clone();
            raw.make_raw();
            if tcsetattr(stdin, OptionalActions::Now, &raw).is_ok() {
                before = Some(attributes);
            }
            resize(terminal);
        }
        Self { terminal, before }
    }

    fn run(&self, pidfd: &OwnedFd, signals: &Signals) -> Result<(), Error> {
        let stdin = rustix::stdio::stdin();
        let mut reading = self.terminal.is_some();
        loop {
            let mut waited = vec![
                PollFd::new(pidfd, PollFlags::IN),
                PollFd::new(&signals.0, PollFlags::IN),
            ];
            if let Some(terminal) = &self.terminal {
                waited.push(PollFd::new(terminal, PollFlags::IN));
                if reading {
                    waited.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
                }
            }
            match poll(&mut waited, None) {
                Err(rustix::io::Errno::INTR) => continue,
                done => done.map_err(|error| Error::io("poll", error))?,
            };
            let ready: Vec<bool> = waited.iter().map(|fd| !fd.revents().is_empty()).collect();
            let is = |at: usize| ready.get(at).copied().unwrap_or(false);
            if is(1) {
                self.pass_signals(pidfd, signals);
            }
            let output = is(2) && self.terminal.as_ref().is_some_and(copy_out);
            if is(3)
                && let Some(terminal) = &self.terminal
            {
                reading = copy_in(terminal);
            }
            // The program has ended, and nothing is left in its terminal.
            if is(0) && !output {
                return Ok(());
            }
        }
    }

    fn pass_signals(&self, pidfd: &OwnedFd, signals: &Signals) {
        while let Ok(Some(signal)) = signals.0.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            match (&self.terminal, number == Signal::SIGWINCH as i32) {
                (Some(terminal), true) => resize(terminal),
                // One that has just ended needs no signal.
                _ => drop(sys::process::pidfd_signal(pidfd.as_fd(), number)),
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

fn resize(terminal: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        let _ = tcsetwinsize(terminal, size);
    }
}

/// Copies what the terminal has; false at its end, which a terminal without slaves reports as EIO.
fn copy_out(terminal: &OwnedFd) -> bool {
    let mut buffer = [0u8; 4096];
    match rustix::io::read(terminal, &mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            let mut out = std::io::stdout();
            let _ = out.write_all(&buffer[..count]).and_then(|()| out.flush());
            true
        }
    }
}

/// Copies what the user types; false at its end.
fn copy_in(terminal: &OwnedFd) -> bool {
    let mut buffer = [0u8; 4096];
    match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                match rustix::io::write(terminal, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
            true
        }
    }
}
