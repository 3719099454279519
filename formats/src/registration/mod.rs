//! The protocol between the engine and PID 1, on [`crate::paths::INIT_SOCKET`]: containers are
//! registered before they start, and their exits wait until the engine has taken them.
//!
//! One message is one `SOCK_SEQPACKET` datagram of at most [`MAX_MESSAGE`] bytes, little-endian.
//! Nothing here allocates or panics: PID 1 decodes into values on its stack.
//!
//! A start goes: the zygote clones the child, which blocks on its start pipe → the engine sends
//! [`Request::Register`] with the pidfd and the stdio ends → PID 1 puts all of it into one slot and
//! answers [`Reply::Ok`] → the engine writes one byte to the start pipe. An engine that dies before
//! that byte is an end-of-file for the child, which exits unstarted.
//!
//! Descriptors travel as one `SCM_RIGHTS` message: with `Register` first the pidfd, then up to
//! [`MAX_STDIO`] stdio ends in the order that the engine chose; PID 1 hands the stdio ends back, in
//! the same order, with each [`Reply::Entry`].

mod codec;
#[cfg(test)]
mod tests;

pub use codec::Message;

/// First bytes of each message: "SG".
pub const MAGIC: [u8; 2] = *b"SG";
/// Version of the protocol. A message of another version is answered by [`ErrorCode::Version`].
pub const VERSION: u8 = 1;
/// No message is longer, in bytes.
pub const MAX_MESSAGE: usize = 256;
/// Stdio descriptors that one slot holds: output and error or a terminal, the socket on which it tells that it
/// is ready, and whatever else the engine wants back.
pub const MAX_STDIO: usize = 4;
/// Containers that PID 1 has slots for.
pub const SLOTS: usize = 1024;
/// Bytes of an [`Id`].
pub const ID_LENGTH: usize = 64;

/// A container's id: 1 to 64 bytes of `[a-zA-Z0-9_.-]`, zero-padded on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; ID_LENGTH]);

impl Id {
    /// Accepts a valid id, `None` for anything else.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > ID_LENGTH || !bytes.iter().all(|b| allowed(*b)) {
            return None;
        }
        let mut id = [0; ID_LENGTH];
        id[..bytes.len()].copy_from_slice(bytes);
        Some(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(ID_LENGTH);
        std::str::from_utf8(&self.0[..end]).unwrap_or("")
    }

    fn from_wire(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        if bytes[end..].iter().any(|b| *b != 0) {
            return None;
        }
        Self::new(std::str::from_utf8(&bytes[..end]).ok()?)
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Id({})", self.as_str())
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn allowed(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

/// What a client asks of PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Take a cloned, not yet started child: descriptors are the pidfd and the stdio ends.
    Register {
        /// The container. It must not be in a slot already.
        id: Id,
        /// The child's process id, which the pidfd must name.
        pid: u32,
    },
    /// Send an [`Reply::Entry`] for each taken slot, then [`Reply::End`].
    List,
    /// Free the slot of a container whose exit the caller has made durable.
    Release {
        /// The container, which must have exited.
        id: Id,
    },
    /// From now on send [`Reply::Exit`] on this connection whenever a container exits.
    Subscribe,
    /// Stamp a stage into the boot timeline, e.g. `container:web`.
    Stamp {
        /// The stage's name.
        name: Id,
        /// What kind of stage, the part before the colon.
        kind: StampKind,
    },
    /// Shut down in order, then do this.
    Power(Power),
}

/// The part of a stage's name before the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampKind {
    /// A container's main process was released.
    Container,
    /// A unit became active.
    Unit,
    /// An image was pulled and unpacked.
    Image,
}

impl StampKind {
    /// The text before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Image => "image",
        }
    }
}

/// What follows an orderly shutdown (reboot(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Switch the machine off.
    Off,
    /// Restart through the firmware.
    Reboot,
}

/// What PID 1 answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Done; for `Register` the slot's number, else 0.
    Ok {
        /// Index of the slot, below [`SLOTS`].
        slot: u32,
    },
    /// Refused, and nothing has changed.
    Error(ErrorCode),
    /// One taken slot, with its stdio descriptors.
    Entry(Slot),
    /// The list is complete.
    End,
    /// Unasked, after `Subscribe`: a container has exited. No descriptors.
    Exit(Slot),
}

/// A slot as the engine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The container.
    pub id: Id,
    /// Process id of its main process.
    pub pid: u32,
    /// Start time of that process in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start_ticks: u64,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit status or signal.
    pub kind: ExitKind,
    /// When PID 1 reaped it, in nanoseconds since the epoch (`CLOCK_REALTIME`).
    pub at_ns: u64,
}

/// The two ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// `_exit(2)` with this status, 0 to 255.
    Exited(u8),
    /// Killed by this signal, 1 to 64.
    Signaled(u8),
}

impl ExitKind {
    /// The code that a shell and `docker` report: the status, or 128 + signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => signal.saturating_add(128),
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum ErrorCode {
    /// Not a message of this protocol.
    #[error("malformed message")]
    Malformed = 1,
    /// The sender speaks another version.
    #[error("protocol version is not {VERSION}")]
    Version = 2,
    /// All [`SLOTS`] are taken.
    #[error("no slot left: {SLOTS} containers are registered")]
    Full = 3,
    /// A container of this id is registered already.
    #[error("id is registered already")]
    Exists = 4,
    /// No such container.
    #[error("id is not registered")]
    NotFound = 5,
    /// The child is gone, is not PID 1's child, or the pidfd names another.
    #[error("process is gone or not a child of PID 1")]
    Gone = 6,
    /// The container still runs.
    #[error("container is still running")]
    Running = 7,
    /// The host is shutting down: nothing new starts.
    #[error("host is shutting down")]
    ShuttingDown = 8,
    /// Root alone may ask for it.
    #[error("only root may ask for this")]
    NotAllowed = 9,
    /// The process is not in its container's cgroup: it is another container's, or a service's.
    #[error("process is not in the container's cgroup")]
    Foreign = 10,
}

impl ErrorCode {
    const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Version,
        Self::Full,
        Self::Exists,
        Self::NotFound,
        Self::Gone,
        Self::Running,
        Self::ShuttingDown,
        Self::NotAllowed,
        Self::Foreign,
    ];
}
