//! The bytes of [`super::Request`] and [`super::Reply`]: two tables, one for each direction.
//!
//! It allocates nothing and never panics; what it cannot read is an [`ErrorCode`].

use super::{
    ErrorCode, Exit, ExitKind, ID_LENGTH, Id, MAGIC, MAX_MESSAGE, Power, Reply, Request, Slot,
    StampKind, VERSION,
};

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
