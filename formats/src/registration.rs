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

/// First bytes of each message: "SG".
pub const MAGIC: [u8; 2] = *b"SG";
/// Version of the protocol. A message of another version is answered by [`ErrorCode::Version`].
pub const VERSION: u8 = 1;
/// No message is longer, in bytes.
pub const MAX_MESSAGE: usize = 256;
/// Stdio descriptors that one slot holds: standard input, output, error, or a terminal.
pub const MAX_STDIO: usize = 3;
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
}

impl ErrorCode {
    const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Version,
        Self::Full,
        Self::Exists,
        Self::NotFound,
        Self::Gone,
        Self::Running,
        Self::ShuttingDown,
    ];
}

/// An encoded message: [`Message::bytes`] goes on the wire.
#[derive(Clone, Copy)]
pub struct Message {
    bytes: [u8; MAX_MESSAGE],
    length: usize,
}

impl Message {
    fn new(operation: u8) -> Self {
        let mut message = Self {
            bytes: [0; MAX_MESSAGE],
            length: 0,
        };
        message.put(&MAGIC).put(&[VERSION, operation]);
        message
    }

    fn put(&mut self, part: &[u8]) -> &mut Self {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
        self
    }

    fn put_slot(&mut self, slot: &Slot) -> &mut Self {
        let (state, code, at) = match slot.exit {
            None => (0, 0, 0),
            Some(Exit {
                kind: ExitKind::Exited(code),
                at_ns,
            }) => (1, code, at_ns),
            Some(Exit {
                kind: ExitKind::Signaled(signal),
                at_ns,
            }) => (2, signal, at_ns),
        };
        self.put(&slot.id.0)
            .put(&slot.pid.to_le_bytes())
            .put(&slot.start_ticks.to_le_bytes())
            .put(&[state, code])
            .put(&at.to_le_bytes())
    }

    /// What goes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

mod operation {
    pub const REGISTER: u8 = 1;
    pub const LIST: u8 = 2;
    pub const RELEASE: u8 = 3;
    pub const SUBSCRIBE: u8 = 4;
    pub const STAMP: u8 = 5;
    pub const POWER: u8 = 6;
    pub const OK: u8 = 0x80;
    pub const ERROR: u8 = 0x81;
    pub const ENTRY: u8 = 0x82;
    pub const END: u8 = 0x83;
    pub const EXIT: u8 = 0x84;
}

impl Request {
    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> Message {
        match self {
            Self::Register { id, pid } => *Message::new(operation::REGISTER)
                .put(&id.0)
                .put(&pid.to_le_bytes()),
            Self::List => Message::new(operation::LIST),
            Self::Release { id } => *Message::new(operation::RELEASE).put(&id.0),
            Self::Subscribe => Message::new(operation::SUBSCRIBE),
            Self::Stamp { name, kind } => *Message::new(operation::STAMP)
                .put(&[*kind as u8])
                .put(&name.0),
            Self::Power(power) => *Message::new(operation::POWER).put(&[*power as u8]),
        }
    }

    /// Decodes one datagram.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`] or [`ErrorCode::Version`]: send it back as the reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let (operation, mut rest) = open(bytes)?;
        let request = match operation {
            operation::REGISTER => Self::Register {
                id: rest.id()?,
                pid: rest.u32()?,
            },
            operation::LIST => Self::List,
            operation::RELEASE => Self::Release { id: rest.id()? },
            operation::SUBSCRIBE => Self::Subscribe,
            operation::STAMP => {
                let kind = match rest.u8()? {
                    0 => StampKind::Container,
                    1 => StampKind::Unit,
                    2 => StampKind::Image,
                    _ => return Err(ErrorCode::Malformed),
                };
                Self::Stamp {
                    kind,
                    name: rest.id()?,
                }
            }
            operation::POWER => Self::Power(match rest.u8()? {
                0 => Power::Off,
                1 => Power::Reboot,
                _ => return Err(ErrorCode::Malformed),
            }),
            _ => return Err(ErrorCode::Malformed),
        };
        rest.end()?;
        Ok(request)
    }
}

impl Reply {
    /// Encodes the reply.
    #[must_use]
    pub fn encode(&self) -> Message {
        match self {
            Self::Ok { slot } => *Message::new(operation::OK).put(&slot.to_le_bytes()),
            Self::Error(code) => *Message::new(operation::ERROR).put(&[*code as u8]),
            Self::Entry(slot) => *Message::new(operation::ENTRY).put_slot(slot),
            Self::End => Message::new(operation::END),
            Self::Exit(slot) => *Message::new(operation::EXIT).put_slot(slot),
        }
    }

    /// Decodes one datagram.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`] or [`ErrorCode::Version`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let (operation, mut rest) = open(bytes)?;
        let reply = match operation {
            operation::OK => Self::Ok { slot: rest.u32()? },
            operation::ERROR => {
                let code = rest.u8()?;
                let known = ErrorCode::ALL
                    .into_iter()
                    .find(|known| *known as u8 == code);
                Self::Error(known.ok_or(ErrorCode::Malformed)?)
            }
            operation::ENTRY => Self::Entry(rest.slot()?),
            operation::END => Self::End,
            operation::EXIT => Self::Exit(rest.slot()?),
            _ => return Err(ErrorCode::Malformed),
        };
        rest.end()?;
        Ok(reply)
    }
}

fn open(bytes: &[u8]) -> Result<(u8, Rest<'_>), ErrorCode> {
    match bytes {
        [a, b, version, operation, rest @ ..] if [*a, *b] == MAGIC => {
            if *version == VERSION {
                Ok((*operation, Rest(rest)))
            } else {
                Err(ErrorCode::Version)
            }
        }
        _ => Err(ErrorCode::Malformed),
    }
}

/// The bytes of a message that are still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ErrorCode> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(ErrorCode::Malformed)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, ErrorCode> {
        Ok(self.take::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, ErrorCode> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ErrorCode> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn id(&mut self) -> Result<Id, ErrorCode> {
        Id::from_wire(&self.take::<ID_LENGTH>()?).ok_or(ErrorCode::Malformed)
    }

    fn slot(&mut self) -> Result<Slot, ErrorCode> {
        let (id, pid, start_ticks) = (self.id()?, self.u32()?, self.u64()?);
        let (state, code, at_ns) = (self.u8()?, self.u8()?, self.u64()?);
        let exit = match state {
            0 => None,
            1 => Some(Exit {
                kind: ExitKind::Exited(code),
                at_ns,
            }),
            2 => Some(Exit {
                kind: ExitKind::Signaled(code),
                at_ns,
            }),
            _ => return Err(ErrorCode::Malformed),
        };
        Ok(Slot {
            id,
            pid,
            start_ticks,
            exit,
        })
    }

    fn end(self) -> Result<(), ErrorCode> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ErrorCode::Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn padded(head: &[u8], id: &str, tail: &[u8]) -> Vec<u8> {
        let mut bytes = head.to_vec();
        bytes.extend(id.as_bytes());
        bytes.resize(head.len() + ID_LENGTH, 0);
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn golden_bytes_of_requests() {
        let register = Request::Register {
            id: id("web"),
            pid: 0x0102,
        };
        assert_eq!(
            register.encode().bytes(),
            padded(b"SG\x01\x01", "web", b"\x02\x01\0\0")
        );
        assert_eq!(Request::List.encode().bytes(), b"SG\x01\x02");
        let release = Request::Release { id: id("web") };
        assert_eq!(release.encode().bytes(), padded(b"SG\x01\x03", "web", b""));
        assert_eq!(Request::Subscribe.encode().bytes(), b"SG\x01\x04");
        let stamp = Request::Stamp {
            name: id("web"),
            kind: StampKind::Unit,
        };
        assert_eq!(
            stamp.encode().bytes(),
            padded(b"SG\x01\x05\x01", "web", b"")
        );
        assert_eq!(
            Request::Power(Power::Reboot).encode().bytes(),
            b"SG\x01\x06\x01"
        );
    }

    #[test]
    fn golden_bytes_of_replies() {
        assert_eq!(
            Reply::Ok { slot: 7 }.encode().bytes(),
            b"SG\x01\x80\x07\0\0\0"
        );
        assert_eq!(
            Reply::Error(ErrorCode::Full).encode().bytes(),
            b"SG\x01\x81\x03"
        );
        assert_eq!(Reply::End.encode().bytes(), b"SG\x01\x83");
        let exit = Some(Exit {
            kind: ExitKind::Signaled(9),
            at_ns: 0x0a,
        });
        let slot = Slot {
            id: id("a"),
            pid: 5,
            start_ticks: 6,
            exit,
        };
        let tail = b"\x05\0\0\0\x06\0\0\0\0\0\0\0\x02\x09\x0a\0\0\0\0\0\0\0";
        assert_eq!(
            Reply::Entry(slot).encode().bytes(),
            padded(b"SG\x01\x82", "a", tail)
        );
        assert_eq!(
            Reply::Exit(slot).encode().bytes(),
            padded(b"SG\x01\x84", "a", tail)
        );
        assert_eq!(
            Reply::decode(Reply::Exit(slot).encode().bytes()),
            Ok(Reply::Exit(slot))
        );
    }

    #[test]
    fn another_version_is_told_apart_from_rubbish() {
        assert_eq!(Request::decode(b"SG\x02\x02"), Err(ErrorCode::Version));
        assert_eq!(Request::decode(b"xx\x01\x02"), Err(ErrorCode::Malformed));
        assert_eq!(Request::decode(b"SG\x01\x02\0"), Err(ErrorCode::Malformed));
        assert_eq!(Request::decode(b""), Err(ErrorCode::Malformed));
    }

    #[test]
    fn an_id_holds_no_path_and_no_padding_inside() {
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(Id::new(bad), None, "{bad}");
        }
        let split = padded(b"SG\x01\x03", "a\0b", b"");
        assert_eq!(Request::decode(&split), Err(ErrorCode::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }

        #[test]
        fn what_is_decoded_encodes_to_the_same_bytes(
            operation in 0u8..0x90, tail in prop::collection::vec(any::<u8>(), 0..100)
        ) {
            let mut bytes = b"SG\x01".to_vec();
            bytes.push(operation);
            bytes.extend(tail);
            if let Ok(request) = Request::decode(&bytes) {
                let message = request.encode();
                prop_assert_eq!(message.bytes(), &bytes[..]);
            }
        }
    }
}
