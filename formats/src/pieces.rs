//! Pieces: how a release's file is cut, so that a host fetches what it lacks and no more.
//!
//! A piece is a file of the commit, named by its offset in eight hexadecimal digits; the next one's
//! name tells its length. Publisher and host cut alike, so this is a contract.

use std::collections::BTreeSet;

use crate::digest::Sha256;

/// Bytes that a piece may have: what a host holds in memory at once.
pub const MAX_PIECE: u64 = 1 << 20;
/// Pieces that a file may have.
pub const MAX_PIECES: usize = 32 << 10;

/// The name of the piece at an offset.
#[must_use]
pub fn name(offset: u64) -> String {
    format!("{offset:08x}")
}

/// The offset in a piece's name.
#[must_use]
pub fn offset(name: &str) -> Option<u64> {
    let digits = name.len() == 8 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

/// The commit's folder of patches for the pieces of `folder`, from the file of this SHA-256.
#[must_use]
pub fn patch_folder(folder: &str, base: &Sha256) -> String {
    format!("{folder}-from-{base}")
}

/// The name of the patch for the piece at an offset, of `length` bytes itself: see [`crate::patch`].
#[must_use]
pub fn patch_name(offset: u64, length: u64) -> String {
    format!("{}-{}", name(offset), name(length))
}

/// The piece's offset and the patch's length in a patch's name.
#[must_use]
pub fn patch_offset(name: &str) -> Option<(u64, u64)> {
    let (at, length) = name.split_once('-')?;
    Some((offset(at)?, offset(length)?))
}

/// Files of the initramfs and sections from this size on are cut out, in bytes; what lies between two
/// of them is one piece.
const LARGE: u64 = 16 << 10;

/// Where a file is cut: the lengths of its pieces, in order. A UKI is cut at the borders of its PE
/// sections and of the files in its initramfs, and anything longer than [`MAX_PIECE`] in steps of that
/// from its own beginning, so that what did not change is the same piece wherever it lies.
///
/// `read` fills a buffer from an offset. What is no UKI is cut in steps.
///
/// # Errors
/// Those of `read`.
pub fn cut<E>(length: u64, read: &mut Read<'_, E>) -> Result<Vec<u64>, E> {
    let mut at = 0;
    let mut lengths = Vec::new();
    let mut borders = borders(length, read)?;
    borders.insert(length);
    for border in borders.range(..=length) {
        while at < *border {
            let step = (*border - at).min(MAX_PIECE);
            lengths.push(step);
            at += step;
        }
    }
    Ok(lengths)
}

/// Fills a buffer from an offset of a file.
pub type Read<'a, E> = dyn FnMut(u64, &mut [u8]) -> Result<(), E> + 'a;

fn borders<E>(length: u64, read: &mut Read<'_, E>) -> Result<BTreeSet<u64>, E> {
    let mut borders = BTreeSet::new();
    let mut head = vec![0; usize::try_from(length.min(8192)).unwrap_or(0)];
    read(0, &mut head)?;
    for (name, start, size) in sections(&head) {
        if size < LARGE || start.saturating_add(size) > length {
            continue;
        }
        borders.extend([start, start + size]);
        if name == *b".initrd\0" {
            files(start, start + size, read, &mut borders)?;
        }
    }
    Ok(borders)
}

/// Name, offset and size of a PE file's sections (Microsoft's PE format, "Section Table").
fn sections(head: &[u8]) -> Vec<([u8; 8], u64, u64)> {
    let u32_at = |at: usize| {
        let bytes = head.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let u16_at = |at: usize| {
        let bytes = head.get(at..at.checked_add(2)?)?;
        Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
    };
    let table = || {
        let nt = u32_at(0x3c)? as usize;
        let signed = head.get(nt..nt.checked_add(4)?)? == b"PE\0\0";
        let table = nt + 24 + u16_at(nt + 20)?;
        signed.then_some((u16_at(nt + 6)?, table))
    };
    let (count, table) = table().unwrap_or_default();
    let section = |index: usize| {
        let header = head.get(table + index * 40..)?;
        let name = header.get(..8)?.try_into().ok()?;
        let size = u32_at(table + index * 40 + 16)?;
        let start = u32_at(table + index * 40 + 20)?;
        Some((name, u64::from(start), u64::from(size)))
    };
    (0..count).map_while(section).collect()
}

/// Borders of the large files of a `newc` archive; it ends at the first byte that is none.
fn files<E>(
    start: u64,
    end: u64,
    read: &mut Read<'_, E>,
    borders: &mut BTreeSet<u64>,
) -> Result<(), E> {
    const HEADER: u64 = 110;
    let mut at = start;
    while at + HEADER <= end {
        let mut header = [0; HEADER as usize];
        read(at, &mut header)?;
        let field = |index: usize| {
            let text = std::str::from_utf8(&header[6 + index * 8..14 + index * 8]).ok()?;
            u64::from_str_radix(text, 16).ok()
        };
        let (true, Some(size), Some(name)) = (header.starts_with(b"070701"), field(6), field(11))
        else {
            return Ok(());
        };
        // Offsets count from the archive's beginning, which lies on a border of 512 bytes.
        let data = start + (at - start + HEADER + name).next_multiple_of(4);
        let next = start + (data - start + size).next_multiple_of(4);
        if size >= LARGE && next <= end {
            borders.extend([data, next]);
        }
        // The trailer; another segment may follow on the next border.
        let is_trailer = size == 0 && name == 11 && field(1) == Some(0);
        at = if is_trailer {
            start + (next - start).next_multiple_of(512)
        } else {
            next
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
