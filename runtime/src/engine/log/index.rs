//! The index's records.
//!
//! Bytes in, values out; a damaged record reads as none.

/// Bytes of a record.
pub const RECORD: usize = 24;

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// From `offset` on, until the next record, bytes are `stream`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// In the data file.
    pub offset: u64,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Whose bytes.
    pub stream: Stream,
}

impl Record {
    /// Its bytes, little-endian.
    pub fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16] = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let sum = checksum(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads one; `None` if it is damaged.
    pub fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (head, sum) = rest.split_first_chunk::<4>()?;
        let stream = match head {
            [1, 0, 0, 0] => Stream::Stdout,
            [2, 0, 0, 0] => Stream::Stderr,
            _ => return None,
        };
        if sum != checksum(&bytes[..20]).to_le_bytes() {
            return None;
        }
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            time_ns: u64::from_le_bytes(*time),
            stream,
        })
    }
}

/// FNV-1a, 32 bits: enough to tell a torn record.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
