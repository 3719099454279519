//! Where partitions lie on a disk of a given size.
//!
//! Pure. STATE is last, so that it can grow with the disk.

use std::collections::BTreeMap;

use formats::paths::STATE_PARTITION_TYPE;
use gpt::partition::Partition;
use gpt::partition_types::{self, OperatingSystem, Type};
use uuid::Uuid;

use super::guid;
use crate::recipe;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Partitions begin and end on borders of this size.
pub const ALIGNMENT: u64 = 1 << 20;
/// STATE below this holds no image worth running.
const LEAST_STATE: u64 = 256 << 20;

/// Why a disk cannot be laid out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Too small.
    #[error("a disk of {size} bytes is too small: ESP and the least STATE need {least} bytes")]
    TooSmall {
        /// What was asked for.
        size: u64,
        /// What is needed.
        least: u64,
    },
    /// No whole number of sectors.
    #[error("a disk of {0} bytes: expected a multiple of 1 MiB")]
    Odd(u64),
    /// Not a size.
    #[error("size {0:?}: expected a number with K, M, G or T, e.g. `4G`")]
    Size(String),
    /// A constant of ours is no GUID.
    #[error("partition type {0:?} is no GUID")]
    Type(String),
}

/// A piece of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
}

impl Extent {
    /// Its length.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the whole.
    pub size: u64,
    /// The EFI system partition.
    pub esp: Extent,
    /// The data partition.
    pub state: Extent,
}

impl Layout {
    /// Lays out a disk of `size` bytes.
    ///
    /// # Errors
    /// When it is too small or not a multiple of 1 MiB.
    pub fn of(size: u64, disk: &recipe::Disk) -> Result<Self, LayoutError> {
        if !size.is_multiple_of(ALIGNMENT) {
            return Err(LayoutError::Odd(size));
        }
        let esp = Extent {
            start: ALIGNMENT,
            end: ALIGNMENT + (disk.esp_mib << 20),
        };
        // The backup table takes less than the last 1 MiB.
        let least = esp.end + LEAST_STATE + ALIGNMENT;
        if size < least {
            return Err(LayoutError::TooSmall { size, least });
        }
        let state = Extent {
            start: esp.end,
            end: size - ALIGNMENT,
        };
        Ok(Self { size, esp, state })
    }

    /// The entries of the partition table.
    ///
    /// # Errors
    /// When our own constant is no GUID.
    pub fn partitions(&self, id: &str) -> Result<BTreeMap<u32, Partition>, LayoutError> {
        let text = STATE_PARTITION_TYPE;
        let state = Uuid::parse_str(text).map_err(|_| LayoutError::Type(text.to_owned()))?;
        let state = Type {
            guid: state,
            os: OperatingSystem::Linux,
        };
        let entry = |name: &str, extent: Extent, kind: Type| Partition {
            part_type_guid: kind,
            part_guid: guid::derive(id, name),
            first_lba: extent.start / SECTOR,
            last_lba: extent.end / SECTOR - 1,
            flags: 0,
            name: format!("{id}-{name}"),
        };
        let esp = entry("esp", self.esp, partition_types::EFI);
        Ok([(1, esp), (2, entry("state", self.state, state))].into())
    }
}

/// Reads a size such as `4G`, in powers of 1024.
///
/// # Errors
/// When it is none.
pub fn parse_size(text: &str) -> Result<u64, LayoutError> {
    let bad = || LayoutError::Size(text.to_owned());
    let upper = text.to_ascii_uppercase();
    let digits = upper.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &upper[digits.len()..] {
        "" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: recipe::Disk = recipe::Disk {
        esp_mib: 512,
        journal_mib: 64,
    };

    #[test]
    fn partitions_are_aligned_apart_and_leave_room_for_both_tables() {
        let layout = Layout::of(4 << 30, &DISK).unwrap();
        assert_eq!(layout.esp.bytes(), 512 << 20);
        assert_eq!(layout.esp.end, layout.state.start);
        assert!(layout.esp.start >= 34 * SECTOR && layout.state.end <= layout.size - 33 * SECTOR);
        let all = layout.partitions("skeg").unwrap();
        assert_eq!(
            all[&2].part_type_guid.guid.to_string(),
            STATE_PARTITION_TYPE
        );
    }

    #[test]
    fn a_disk_that_is_too_small_says_how_large_it_must_be() {
        let error = Layout::of(512 << 20, &DISK).unwrap_err().to_string();
        assert!(error.contains("need 807403520 bytes"), "{error}");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("4G"), Ok(4 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        for bad in ["", "G", "4X", "-1G", "99999999999T", "1.5G"] {
            assert_eq!(parse_size(bad), Err(LayoutError::Size(bad.to_owned())));
        }
    }
}
