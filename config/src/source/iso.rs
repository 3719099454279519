//! ISO 9660 (ECMA-119), as much as finding one file takes, with Rock Ridge's names where there are some.
//!
//! Reads what a stranger wrote: every length is checked, nothing is followed twice.

use crate::resource::LARGEST;
use std::io;
use std::os::unix::fs::FileExt;

const SECTOR: u64 = 2048;
/// Where the primary volume descriptor lies.
pub const VOLUME: u64 = 16 * SECTOR;
/// No folder is read further, in bytes.
const LONGEST_FOLDER: u64 = 1 << 20;

/// Whether this sector is a primary volume descriptor (section 8.4).
#[must_use]
pub fn is_volume(sector: &[u8]) -> bool {
    sector.first() == Some(&1) && sector.get(1..6) == Some(b"CD001")
}

/// Where a file's bytes lie.
#[derive(Debug, Clone, Copy)]
struct Extent {
    begin: u64,
    length: u64,
}

/// The bytes of a file; none if it is not there.
///
/// # Errors
/// What is no ISO 9660, or cannot be read.
pub fn file(device: &impl FileExt, path: &str) -> Result<Option<Vec<u8>>, String> {
    let failed = |e: io::Error| format!("read the volume: {e}");
    let mut sector = vec![0; 2048];
    device.read_exact_at(&mut sector, VOLUME).map_err(failed)?;
    if !is_volume(&sector) {
        return Err("expected a volume of ISO 9660".to_owned());
    }
    let root = sector.get(156..190).and_then(extent);
    let mut at = root.ok_or("the volume has no root folder")?;
    for name in path.split('/') {
        if at.length > LONGEST_FOLDER {
            return Err("a folder is longer than 1 MiB".to_owned());
        }
        let folder = bytes(device, at).map_err(failed)?;
        match find(&folder, name) {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    if at.length > LARGEST {
        return Err(format!("{path} is larger than {} MiB", LARGEST >> 20));
    }
    bytes(device, at).map(Some).map_err(failed)
}

fn bytes(device: &impl FileExt, at: Extent) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(at.length).map_err(io::Error::other)?];
    device.read_exact_at(&mut bytes, at.begin)?;
    Ok(bytes)
}

/// A directory record's extent (section 9.1): both numbers stand there twice, first little-endian.
fn extent(record: &[u8]) -> Option<Extent> {
    let number = |at: usize| {
        let bytes = record.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    Some(Extent {
        begin: number(2)? * SECTOR,
        length: number(10)?,
    })
}

fn find(folder: &[u8], wanted: &str) -> Option<Extent> {
    // No record crosses a sector's end; what is left of a sector is zeros.
    for sector in folder.chunks(2048) {
        let mut rest = sector;
        while let Some(length) = rest.first().map(|length| usize::from(*length)) {
            if length < 34 {
                break;
            }
            let record = rest.get(..length)?;
            if name(record).is_some_and(|name| name.eq_ignore_ascii_case(wanted)) {
                return extent(record);
            }
            rest = &rest[length..];
        }
    }
    None
}

/// The name of a record: Rock Ridge's, or the plain one without its version.
fn name(record: &[u8]) -> Option<String> {
    let length = usize::from(*record.get(32)?);
    let plain = record.get(33..33 + length)?;
    let mut long = Vec::new();
    // System use begins after the name, at an even place.
    let mut rest = record
        .get(33 + length + usize::from(length % 2 == 0)..)
        .unwrap_or_default();
    while let [first, second, size, _, ..] = rest {
        let size = usize::from(*size);
        let Some(entry) = rest.get(..size).filter(|_| size >= 4) else {
            break;
        };
        if (*first, *second) == (b'N', b'M') {
            long.extend_from_slice(entry.get(5..).unwrap_or_default());
        }
        rest = &rest[size..];
    }
    if !long.is_empty() {
        return String::from_utf8(long).ok();
    }
    let text = std::str::from_utf8(plain).ok()?;
    let text = text.split(';').next().unwrap_or(text);
    Some(text.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A device in memory.
    struct Memory(Vec<u8>);

    impl FileExt for Memory {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(self.0.len());
            let length = buffer.len().min(self.0.len() - from);
            buffer[..length].copy_from_slice(&self.0[from..from + length]);
            Ok(length)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn record(name: &[u8], rock_ridge: Option<&[u8]>, sector: u32, length: u32) -> Vec<u8> {
        let mut record = vec![0; 33];
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&length.to_le_bytes());
        record[32] = u8::try_from(name.len()).unwrap();
        record.extend_from_slice(name);
        if name.len().is_multiple_of(2) {
            record.push(0);
        }
        if let Some(long) = rock_ridge {
            record.extend_from_slice(b"NM");
            record.extend([u8::try_from(5 + long.len()).unwrap(), 1, 0]);
            record.extend_from_slice(long);
        }
        record[0] = u8::try_from(record.len()).unwrap();
        record
    }

    fn volume() -> Vec<u8> {
        let mut disk = vec![0; 24 * 2048];
        let mut put = |sector: usize, bytes: &[u8]| {
            disk[sector * 2048..sector * 2048 + bytes.len()].copy_from_slice(bytes);
        };
        put(16, b"\x01CD001\x01");
        put(
            18,
            &[
                record(&[0], None, 18, 2048),
                record(b"OPENSTAC", Some(b"openstack"), 19, 2048),
                record(b"USERDATA.;1", Some(b"user-data"), 21, 4),
                record(b"PLAIN.;1", None, 21, 4),
            ]
            .concat(),
        );
        put(19, &record(b"USER_DAT.;1", Some(b"user_data"), 21, 4));
        put(21, b"here");
        disk[16 * 2048 + 156..16 * 2048 + 190].copy_from_slice(&record(&[0], None, 18, 2048));
        disk
    }

    #[test]
    fn files_are_found_by_their_long_or_plain_names() {
        let disk = Memory(volume());
        for path in ["user-data", "openstack/user_data", "plain"] {
            assert_eq!(file(&disk, path), Ok(Some(b"here".to_vec())), "{path}");
        }
        assert_eq!(file(&disk, "openstack/latest/user_data"), Ok(None));
        assert!(file(&Memory(vec![0; 40_000]), "x").is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_volume_is_never_a_panic(at in 16 * 2048usize..20 * 2048, byte: u8) {
            let mut disk = volume();
            disk[at] = byte;
            let _ = file(&Memory(disk), "openstack/user_data");
        }
    }
}
