//! The few fields of ext4's superblock (kernel: fs/ext4/ext4.h) that a boot looks at.
//!
//! It only reads, and judges nothing.

use super::gpt::u32_at;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the superblock lies on its partition, and its length.
const AT: u64 = 1024;
const LENGTH: usize = 1024;
/// Where the first copy lies, with blocks of 4 KiB: at the start of the second group.
const COPY_AT: u64 = 32768 * 4096;
const MAGIC: u16 = 0xef53;
const ERROR_STATE: u16 = 2;
const FEATURE_64BIT: u32 = 0x80;
/// The label that the image builder gives to STATE.
const LABEL: &[u8] = b"STATE\0";

/// What a superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Blocks of the file system.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u64,
    /// Whether the kernel has left word of errors.
    pub errors: bool,
    ours: bool,
}

impl Superblock {
    /// Reads it from a partition.
    ///
    /// # Errors
    /// As read(2); `InvalidData` when there is none.
    pub fn read(device: &Path) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        File::open(device)?.read_exact_at(&mut bytes, AT)?;
        Self::parse(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no superblock of ext4"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at| u32_at(bytes, at).ok();
        if u16_at(0x38)? != MAGIC {
            return None;
        }
        let high = match u32_at(0x60)? & FEATURE_64BIT {
            0 => 0,
            _ => u32_at(0x150)?,
        };
        let shift = u32_at(0x18)?;
        Some(Self {
            blocks: u64::from(high) << 32 | u64::from(u32_at(0x4)?),
            block_size: 1024u64.checked_shl(shift).filter(|_| shift <= 6)?,
            errors: u16_at(0x3a)? & ERROR_STATE != 0,
            ours: bytes.get(0x78..0x78 + LABEL.len()) == Some(LABEL),
        })
    }
}

/// Whether a partition without a superblock was one of ours: its start is zeroes, nobody else's
/// file system is on it, and the first copy has our label.
///
/// # Errors
/// As read(2).
pub fn was_ours(device: &Path) -> io::Result<bool> {
    let device = File::open(device)?;
    let mut start = [0; AT as usize + LENGTH];
    device.read_exact_at(&mut start, 0)?;
    let mut btrfs = [0; 8];
    device.read_exact_at(&mut btrfs, 0x1_0040)?;
    let mut copy = [0; LENGTH];
    device.read_exact_at(&mut copy, COPY_AT)?;
    let blank = start.iter().all(|byte| *byte == 0) && &btrfs != b"_BHRfS_M";
    Ok(blank && Superblock::parse(&copy).is_some_and(|copy| copy.ours && copy.block_size == 4096))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// The start of a file system of ours, and the first copy of its superblock.
    fn partition(change: impl FnOnce(&mut [u8])) -> (tempfile::TempDir, PathBuf) {
        let mut bytes = vec![0; usize::try_from(COPY_AT).unwrap() + LENGTH];
        for at in [1024, usize::try_from(COPY_AT).unwrap()] {
            bytes[at + 0x4..at + 0x8].copy_from_slice(&77u32.to_le_bytes());
            bytes[at + 0x18] = 2;
            bytes[at + 0x38..at + 0x3a].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[at + 0x3a] = 1;
            bytes[at + 0x60] = 0x80;
            bytes[at + 0x78..at + 0x7d].copy_from_slice(b"STATE");
            bytes[at + 0x150] = 1;
        }
        change(&mut bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partition");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn size_and_errors_are_read() {
        let (_folder, path) = partition(|_| {});
        let found = Superblock::read(&path).unwrap();
        assert_eq!((found.blocks, found.block_size), ((1 << 32) + 77, 4096));
        assert!(!found.errors);
        let (_folder, path) = partition(|bytes| bytes[1024 + 0x3a] = 3);
        assert!(Superblock::read(&path).unwrap().errors);
    }

    #[test]
    fn only_a_wiped_superblock_of_ours_may_be_replaced_by_its_copy() {
        let wipe = |bytes: &mut [u8]| bytes[1024..2048].fill(0);
        let (_folder, path) = partition(wipe);
        let error = Superblock::read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(was_ours(&path).unwrap());
        let others: [fn(&mut [u8]); 3] = [
            |bytes| bytes[0..4].copy_from_slice(b"XFSB"),
            |bytes| bytes[0x1_0040..0x1_0048].copy_from_slice(b"_BHRfS_M"),
            |bytes| bytes[COPY_AT as usize + 0x78] = b's',
        ];
        for other in others {
            let (_folder, path) = partition(|bytes| {
                wipe(bytes);
                other(bytes);
            });
            assert!(!was_ours(&path).unwrap());
        }
    }
}
