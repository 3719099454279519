//! What a UKI says it is: `IMAGE_ID` and `IMAGE_VERSION` in its section `.osrel`.
//!
//! The loader sorts by them before it looks at file names, so a file whose name says otherwise is
//! never given one that boots. Bounded: reads headers and one small section.

use formats::name::Name;
use formats::version::Version;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Sections that a UKI may have.
const MOST_SECTIONS: usize = 96;
/// Bytes that `.osrel` may have.
const MOST_TEXT: usize = 16 << 10;

/// Why a file is not the UKI that it should be.
#[derive(Debug, thiserror::Error)]
pub enum OsrelError {
    /// It cannot be read.
    #[error("read its headers: {0}")]
    Io(#[from] io::Error),
    /// Not the format.
    #[error("no UKI: {0}")]
    Format(&'static str),
    /// It is another.
    #[error("expected {expected} in .osrel, found {found:?}")]
    Other {
        /// What it should be.
        expected: String,
        /// What it says.
        found: String,
    },
}

/// Checks that a file says it is this release.
///
/// # Errors
/// [`OsrelError`].
pub fn check(file: &File, product: &Name, version: Version) -> Result<(), OsrelError> {
    let text = section(file)?;
    let expect = |key: &str, expected: String| {
        let found = value(&text, key).unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(OsrelError::Other {
            expected: format!("{key}={expected}"),
            found: found.chars().take(64).collect(),
        })
    };
    expect("IMAGE_ID", product.to_string())?;
    expect("IMAGE_VERSION", version.to_string())
}

/// The value of a key in os-release(5) text, without quotes.
#[must_use]
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.trim_matches('"'))
    })
}

/// The text of `.osrel` (PE/COFF, "Section Table").
fn section(file: &File) -> Result<String, OsrelError> {
    let mut dos = [0; 64];
    file.read_exact_at(&mut dos, 0)?;
    if &dos[..2] != b"MZ" {
        return Err(OsrelError::Format("it does not begin with MZ"));
    }
    let pe = u64::from(u32_at(&dos, 60));
    let mut header = [0; 24];
    file.read_exact_at(&mut header, pe)?;
    if &header[..4] != b"PE\0\0" {
        return Err(OsrelError::Format("it has no PE header"));
    }
    let count = usize::from(u16_at(&header, 6)).min(MOST_SECTIONS);
    let table = pe + 24 + u64::from(u16_at(&header, 20));
    let mut sections = vec![0; count * 40];
    file.read_exact_at(&mut sections, table)?;
    let found = sections.chunks_exact(40).find(|s| &s[..8] == b".osrel\0\0");
    let found = found.ok_or(OsrelError::Format("it has no section .osrel"))?;
    let length = u32_at(found, 8).min(u32_at(found, 16)) as usize;
    let mut text = vec![0; length.min(MOST_TEXT)];
    file.read_exact_at(&mut text, u64::from(u32_at(found, 20)))?;
    String::from_utf8(text).map_err(|_| OsrelError::Format(".osrel is no text"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// The least that has an `.osrel`, padded to a length.
    pub(crate) fn uki(osrel: &str, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 24 + 40];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[60] = 64;
        bytes[64..68].copy_from_slice(b"PE\0\0");
        bytes[70] = 1;
        bytes[88..96].copy_from_slice(b".osrel\0\0");
        let size = u32::try_from(osrel.len()).unwrap().to_le_bytes();
        bytes[96..100].copy_from_slice(&size);
        bytes[104..108].copy_from_slice(&size);
        bytes[108] = 128;
        bytes.extend(osrel.as_bytes());
        let rest = bytes.len()..length.max(bytes.len());
        bytes.extend(rest.map(|n| u8::try_from(n % 251).unwrap()));
        bytes
    }

    fn checked(bytes: &[u8]) -> Result<(), OsrelError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        check(&file, &"skeg".parse().unwrap(), "1.4.0".parse().unwrap())
    }

    #[test]
    fn a_uki_is_what_its_osrel_says() {
        checked(&uki("ID=x\nIMAGE_ID=skeg\nIMAGE_VERSION=\"1.4.0\"\n", 0)).unwrap();
        for other in [
            "IMAGE_ID=skeg\nIMAGE_VERSION=1.4.1\n",
            "IMAGE_VERSION=1.4.0\n",
            "",
        ] {
            let error = checked(&uki(other, 0)).unwrap_err();
            assert!(matches!(error, OsrelError::Other { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_cut_or_garbage_is_an_error_and_no_more() {
        let whole = uki("IMAGE_ID=skeg\nIMAGE_VERSION=1.4.0\n", 0);
        for cut in 0..whole.len() {
            assert!(checked(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 0xff;
            let _ = checked(&wrong);
        }
    }
}
