//! A whole GUID partition table (UEFI 2.10, section 5.3) that can be written again, at either end.
//!
//! Pure: it checks both checksums of what it reads, and changes no byte that it does not know.

use crate::boot::gpt::{self, GptError, crc32, guid_bytes, u32_at, u64_at};

/// Bytes of a header's known part; a header may be longer.
const LEAST_HEADER: usize = 92;

/// One copy of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_size: usize,
}

/// A partition that a table holds; blocks, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// From 1.
    pub number: u32,
    /// First block.
    pub first: u64,
    /// Last block.
    pub last: u64,
}

impl Table {
    /// Reads the copy whose header is at block `at`. `read` takes a block and a length in bytes.
    ///
    /// # Errors
    /// [`GptError`]; what cannot be read counts as damaged.
    pub fn read(
        at: u64,
        block: usize,
        read: &mut impl FnMut(u64, usize) -> Option<Vec<u8>>,
    ) -> Result<Self, GptError> {
        let bytes = read(at, block).ok_or(GptError::Damaged)?;
        let header = gpt::header(&bytes)?;
        let entries = read(header.entries_block, header.entries_length());
        let entries = entries.ok_or(GptError::Damaged)?;
        let length = u32_at(&bytes, 12)? as usize;
        let table = Self {
            header: bytes.get(..length).ok_or(GptError::Damaged)?.to_vec(),
            entries,
            entry_size: header.entry_size as usize,
        };
        let whole = crc32(&table.entries) == u32_at(&table.header, 88)?;
        let sensible = table.header.len() >= LEAST_HEADER && table.own_block() == at;
        (whole && sensible)
            .then_some(table)
            .ok_or(GptError::Damaged)
    }

    fn number(&self, at: usize) -> u64 {
        // The header is at least LEAST_HEADER bytes.
        u64_at(&self.header, at).unwrap_or(0)
    }

    fn own_block(&self) -> u64 {
        self.number(24)
    }

    /// Where it says that the other copy is.
    #[must_use]
    pub fn other_copy(&self) -> u64 {
        self.number(32)
    }

    /// The first block that a partition may have.
    #[must_use]
    pub fn first_usable(&self) -> u64 {
        self.number(40)
    }

    /// Where its entries are.
    #[must_use]
    pub fn entries_block(&self) -> u64 {
        self.number(72)
    }

    /// Whether both are copies of one disk's table.
    #[must_use]
    pub fn same_disk(&self, header: &[u8]) -> bool {
        header.get(56..72) == self.header.get(56..72)
    }

    /// Blocks that the entries take.
    #[must_use]
    pub fn entries_blocks(&self, block: usize) -> u64 {
        self.entries.len().div_ceil(block) as u64
    }

    /// All partitions, and those among them that are of a type.
    #[must_use]
    pub fn partitions(&self, kind: &str) -> (Vec<Extent>, Vec<Extent>) {
        let wanted = guid_bytes(kind).unwrap_or_default();
        let (mut all, mut found) = (Vec::new(), Vec::new());
        for (number, entry) in (1..).zip(self.entries.chunks_exact(self.entry_size)) {
            let extent = Extent {
                number,
                first: u64_at(entry, 32).unwrap_or(0),
                last: u64_at(entry, 40).unwrap_or(0),
            };
            if entry[..16] != [0; 16] {
                all.push(extent);
            }
            if entry[..16] == wanted {
                found.push(extent);
            }
        }
        (all, found)
    }

    /// Moves the end of a partition.
    pub fn set_last(&mut self, number: u32, last: u64) {
        let at = (number as usize).saturating_sub(1) * self.entry_size;
        if let Some(place) = self.entries.get_mut(at + 40..at + 48) {
            place.copy_from_slice(&last.to_le_bytes());
        }
    }

    /// Says which block is the last that a partition may have.
    pub fn set_last_usable(&mut self, last: u64) {
        self.header[48..56].copy_from_slice(&last.to_le_bytes());
    }

    /// Header block and entries for a copy at `own`, with the other one at `other`, both with
    /// their checksums.
    #[must_use]
    pub fn write(&self, own: u64, other: u64, entries: u64, block: usize) -> (Vec<u8>, Vec<u8>) {
        let mut header = self.header.clone();
        header[24..32].copy_from_slice(&own.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[72..80].copy_from_slice(&entries.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&self.entries).to_le_bytes());
        header[16..20].fill(0);
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header.resize(block, 0);
        let mut bytes = self.entries.clone();
        bytes.resize(self.entries.len().next_multiple_of(block), 0);
        (header, bytes)
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn of(header: Vec<u8>, entries: Vec<u8>) -> Self {
        Self {
            header,
            entries,
            entry_size: 128,
        }
    }

    pub(super) fn set_guid(&mut self, guid: [u8; 16]) {
        self.header[56..72].copy_from_slice(&guid);
    }
}
