//! A boot entry of the firmware as bytes: `EFI_LOAD_OPTION` (UEFI 2.10, section 3.1.3) with the short
//! device path of a file on a GPT partition (section 10.3.5).
//!
//! Only writes: entries of others are compared as bytes and never understood.

use crate::esp::device::Partition;

/// The entry may be booted.
const ACTIVE: u32 = 1;

/// The bytes of an entry that loads `path` (with backslashes) from a partition.
#[must_use]
pub fn load_option(description: &str, partition: &Partition, path: &str) -> Vec<u8> {
    let list = device_path(partition, path);
    let length = u16::try_from(list.len()).unwrap_or(u16::MAX);
    let mut bytes = ACTIVE.to_le_bytes().to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(text(description));
    bytes.extend(list);
    bytes
}

/// The description in an entry's bytes.
#[must_use]
pub fn description(bytes: &[u8]) -> String {
    let units = bytes.get(6..).unwrap_or_default().chunks_exact(2);
    let units = units.map(|b| u16::from_le_bytes([b[0], b[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).take(128).collect();
    String::from_utf16_lossy(&units)
}

fn device_path(partition: &Partition, path: &str) -> Vec<u8> {
    let mut disk = partition.number.to_le_bytes().to_vec();
    disk.extend(partition.start.to_le_bytes());
    disk.extend(partition.blocks.to_le_bytes());
    disk.extend(partition.guid);
    // A GUID partition table, and a GUID as signature.
    disk.extend([2, 2]);
    let mut list = node(4, 1, &disk);
    list.extend(node(4, 4, &text(path)));
    list.extend(node(0x7f, 0xff, &[]));
    list
}

fn node(kind: u8, sub: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = vec![kind, sub];
    bytes.extend(length.to_le_bytes());
    bytes.extend(data);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let partition = Partition {
            device: "/dev/vda1".into(),
            guid: [0xaa; 16],
            number: 1,
            start: 2048,
            blocks: 0x10_0000,
        };
        let bytes = load_option("Sk", &partition, "\\A");
        let expected = [
            &[1, 0, 0, 0, 56, 0][..],
            b"S\0k\0\0\0",
            &[4, 1, 42, 0, 1, 0, 0, 0],
            &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0],
            &[0xaa; 16],
            &[2, 2],
            &[4, 4, 10, 0],
            b"\\\0A\0\0\0",
            &[0x7f, 0xff, 4, 0],
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(description(&bytes), "Sk");
        assert_eq!(description(&[1, 2]), "");
    }
}
