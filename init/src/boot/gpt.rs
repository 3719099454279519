//! The GUID partition table (UEFI 2.10, section 5.3): which partition is of a given type.
//!
//! Pure: bytes of a disk in, a partition's number out. It checks both checksums, so a torn table is
//! refused and the caller can try the backup copy.

/// Where the entries of a table lie, from its checked header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// First block of the entries.
    pub entries_block: u64,
    /// How many entries there are.
    pub count: u32,
    /// Bytes of one entry.
    pub entry_size: u32,
    entries_crc: u32,
}

impl Header {
    /// Bytes of all entries.
    #[must_use]
    pub fn entries_length(&self) -> usize {
        self.count as usize * self.entry_size as usize
    }
}

/// Why a table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    /// Not a GPT at all, e.g. an empty disk.
    #[error("no partition table")]
    Absent,
    /// A checksum is wrong, or a field is out of any sensible range.
    #[error("damaged partition table")]
    Damaged,
}

const SIGNATURE: &[u8] = b"EFI PART";
/// More entries than any tool writes; a bound for what is read.
const MOST_ENTRIES: u32 = 1024;

/// Reads a header from its block.
///
/// # Errors
/// [`GptError`].
pub fn header(block: &[u8]) -> Result<Header, GptError> {
    if block.get(..8) != Some(SIGNATURE) {
        return Err(GptError::Absent);
    }
    let size = u32_at(block, 12)? as usize;
    let mut own = block.get(..size).ok_or(GptError::Damaged)?.to_vec();
    if size < 92 {
        return Err(GptError::Damaged);
    }
    own[16..20].fill(0);
    let header = Header {
        entries_block: u64_at(block, 72)?,
        count: u32_at(block, 80)?,
        entry_size: u32_at(block, 84)?,
        entries_crc: u32_at(block, 88)?,
    };
    let sensible = header.count <= MOST_ENTRIES && (128..=4096).contains(&header.entry_size);
    if !sensible || crc32(&own) != u32_at(block, 16)? {
        return Err(GptError::Damaged);
    }
    Ok(header)
}

/// Numbers (from 1) of the partitions of a type, in the table's order.
///
/// # Errors
/// [`GptError::Damaged`] when the entries are not those that the header speaks of.
pub fn partitions_of_type(
    header: &Header,
    entries: &[u8],
    kind: &str,
) -> Result<Vec<u32>, GptError> {
    let entries = entries
        .get(..header.entries_length())
        .ok_or(GptError::Damaged)?;
    if crc32(entries) != header.entries_crc {
        return Err(GptError::Damaged);
    }
    let wanted = guid_bytes(kind).ok_or(GptError::Absent)?;
    let entries = entries.chunks_exact(header.entry_size as usize);
    let numbered = (1..).zip(entries);
    Ok(numbered
        .filter(|(_, entry)| entry[..16] == wanted)
        .map(|(n, _)| n)
        .collect())
}

/// A GUID's text as the 16 bytes on disk: the first three groups are little-endian.
#[must_use]
pub fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0u8; 16];
    let mut digits = text.bytes().filter(|b| *b != b'-');
    for byte in &mut bytes {
        let high = char::from(digits.next()?).to_digit(16)?;
        let low = char::from(digits.next()?).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    digits.next().is_none().then_some(bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, GptError> {
    let part = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    part.map(u32::from_le_bytes).ok_or(GptError::Damaged)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, GptError> {
    let part = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    part.map(u64::from_le_bytes).ok_or(GptError::Damaged)
}

/// CRC-32 (IEEE 802.3), bit by bit: 16 KiB are read once per boot, a table would weigh more.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// A valid header, for tests that need a disk.
#[cfg(test)]
pub(super) fn test_header(entries_block: u64, count: u32, entries: &[u8]) -> Vec<u8> {
    let mut block = vec![0u8; 92];
    block[..8].copy_from_slice(SIGNATURE);
    block[12..16].copy_from_slice(&92u32.to_le_bytes());
    block[72..80].copy_from_slice(&entries_block.to_le_bytes());
    block[80..84].copy_from_slice(&count.to_le_bytes());
    block[84..88].copy_from_slice(&128u32.to_le_bytes());
    block[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
    let crc = crc32(&block);
    block[16..20].copy_from_slice(&crc.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::paths::STATE_PARTITION_TYPE;
    use proptest::prelude::*;

    /// A table whose n-th entry has the n-th type.
    fn table(kinds: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let mut entries = vec![0u8; 128 * 128];
        for (entry, kind) in entries.chunks_mut(128).zip(kinds) {
            entry[..16].copy_from_slice(&guid_bytes(kind).unwrap());
        }
        let mut block = test_header(2, 128, &entries);
        block.resize(512, 0);
        (block, entries)
    }

    const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    #[test]
    fn state_is_found_by_its_type() {
        let (block, entries) = table(&[ESP, STATE_PARTITION_TYPE]);
        let header = header(&block).unwrap();
        assert_eq!(header.entries_block, 2);
        assert_eq!(
            partitions_of_type(&header, &entries, STATE_PARTITION_TYPE),
            Ok(vec![2])
        );
    }

    #[test]
    fn the_checksum_and_the_guid_order_are_those_of_the_specification() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(
            guid_bytes(ESP).unwrap()[..6],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8]
        );
    }

    #[test]
    fn a_table_with_one_wrong_bit_is_refused() {
        let (mut block, mut entries) = table(&[ESP]);
        let good = header(&block).unwrap();
        entries[200] ^= 1;
        assert_eq!(
            partitions_of_type(&good, &entries, ESP),
            Err(GptError::Damaged)
        );
        block[80] ^= 1;
        assert_eq!(header(&block), Err(GptError::Damaged));
        assert_eq!(header(&[0; 512]), Err(GptError::Absent));
    }

    proptest! {
        #[test]
        fn no_disk_makes_the_parser_panic(
            mut block in prop::collection::vec(any::<u8>(), 0..600), entries in prop::collection::vec(any::<u8>(), 0..600)
        ) {
            if let Some(start) = block.get_mut(..8) { start.copy_from_slice(SIGNATURE); }
            if let Ok(header) = header(&block) {
                let _ = partitions_of_type(&header, &entries, ESP);
            }
            let anything = Header { entries_block: 0, count: 3, entry_size: 128, entries_crc: 0 };
            let _ = partitions_of_type(&anything, &entries, ESP);
        }
    }
}
