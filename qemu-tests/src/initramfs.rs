//! Looks into an initramfs: the files of its cpio archives (`newc`), several ones in a row.
//!
//! Only uncompressed ones, as Skeg's are; anything else is an error, never skipped.

use anyhow::{Context, Result, bail};
use std::path::Path;

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its path, without a leading slash.
    pub path: String,
    /// Type and permission bits.
    pub mode: u32,
    /// Content, or a link's target.
    pub content: Vec<u8>,
}

/// Reads all entries of all archives of a file.
///
/// # Errors
/// It is no `newc` archive to its end.
pub fn read(file: &Path) -> Result<Vec<Entry>> {
    let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    entries(&bytes).with_context(|| file.display().to_string())
}

fn entries(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        // Archives are padded with zeros to any length.
        at += bytes[at..].iter().take_while(|b| **b == 0).count();
        if at == bytes.len() {
            return Ok(found);
        }
        let (entry, next) = entry(bytes, at)?;
        at = next;
        if entry.path != "TRAILER!!!" {
            found.push(entry);
        }
    }
}

fn entry(bytes: &[u8], at: usize) -> Result<(Entry, usize)> {
    let header = bytes.get(at..at + 110).context("cut in a header")?;
    if !header.starts_with(b"070701") {
        bail!("no newc header at byte {at}");
    }
    let field = |number: usize| -> Result<usize> {
        let digits = &header[6 + number * 8..14 + number * 8];
        let digits = std::str::from_utf8(digits).context("a header is no text")?;
        usize::from_str_radix(digits, 16).context("a header holds no number")
    };
    let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
    let name_at = at + 110;
    let content_at = (name_at + name_size).next_multiple_of(4);
    let name = bytes.get(name_at..name_at + name_size.saturating_sub(1));
    let content = bytes.get(content_at..content_at + size);
    let entry = Entry {
        path: String::from_utf8_lossy(name.context("cut in a name")?).into_owned(),
        mode: u32::try_from(mode)?,
        content: content.context("cut in a file")?.to_vec(),
    };
    let next = (content_at + size).next_multiple_of(4).min(bytes.len());
    Ok((entry, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, content) in [(path, content), ("TRAILER!!!", b"".as_slice())] {
            let fields = [
                1,
                0o100_644,
                0,
                0,
                1,
                0,
                content.len(),
                0,
                0,
                0,
                0,
                path.len() + 1,
                0,
            ];
            bytes.extend(b"070701");
            for field in fields {
                bytes.extend(format!("{field:08x}").bytes());
            }
            bytes.extend(path.bytes());
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    #[test]
    fn archives_in_a_row_are_read_to_the_last() {
        let bytes = [archive("init", b"abc"), archive("usr/x", b"")].concat();
        let found = entries(&bytes).unwrap();
        let paths: Vec<&str> = found.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["init", "usr/x"]);
        assert_eq!(found[0].content, b"abc");
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        assert!(entries(b"\x28\xb5\x2f\xfd compressed").is_err());
        assert!(entries(&archive("init", b"abc")[..118]).is_err());
    }
}
