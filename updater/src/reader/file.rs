//! Files in an archive repository, `.filez`: a header, then the content, deflated (libostree's
//! ostree-core.c, "zlib file header").
//!
//! Pure. A piece has one owner and one mode, so its header is the same bytes but for the length.

use std::io::Read;

use flate2::read::DeflateDecoder;
use formats::digest::{Hex, Sha256};
use sha2::Digest;

/// Size of the header's variant, big-endian, and padding to eight bytes; then owner 0, group 0, mode
/// 0100644, no device, an empty link target, no attributes, and a framing offset.
const PLAIN: [u8; 26] = *b"\0\0\0\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x81\xa4\0\0\0\0\0\x11";
/// The same with the content's length in front of the owner.
const HEADER: usize = 34;

/// Bytes of a `.filez` that a content of `length` bytes cannot exceed: deflate falls back to stored
/// blocks, whose heads are five bytes for at least 8 KiB.
pub const fn stored_limit(length: u64) -> u64 {
    length + length / 1024 + 1024
}

/// The checksum of a piece as an ostree object.
#[must_use]
pub fn checksum(content: &[u8]) -> Sha256 {
    let mut hash = sha2::Sha256::new();
    hash.update(PLAIN);
    hash.update(content);
    Hex(hash.finalize().into())
}

/// Why it is no piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not the format.
    Malformed(&'static str),
    /// Another kind of file.
    NotPlain,
    /// Of another length.
    Length(u64),
}

/// The content of a piece of `length` bytes; what it expands to beyond that is never held.
pub fn content(stored: &[u8], length: u64) -> Result<Vec<u8>, Refused> {
    let header = stored.get(..HEADER);
    let header = header.ok_or(Refused::Malformed("a whole header"))?;
    let (size, rest) = (&header[8..16], &header[16..]);
    if header[..8] != *b"\0\0\0\x1a\0\0\0\0" || rest[..17] != PLAIN[8..25] || rest[17] != 0x19 {
        return Err(Refused::NotPlain);
    }
    let size = u64::from_be_bytes(size.try_into().unwrap_or_default());
    if size != length {
        return Err(Refused::Length(size));
    }
    let malformed = Refused::Malformed("deflated content, and nothing after it");
    let capacity = usize::try_from(length).map_err(|_| Refused::Length(length))?;
    let mut content = Vec::with_capacity(capacity);
    let mut inflate = DeflateDecoder::new(&stored[HEADER..]);
    let read = inflate.by_ref().take(length + 1).read_to_end(&mut content);
    if read.is_err() {
        return Err(malformed);
    }
    if content.len() as u64 != length {
        return Err(Refused::Length(content.len() as u64));
    }
    if inflate.total_in() != (stored.len() - HEADER) as u64 {
        return Err(malformed);
    }
    Ok(content)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// A `.filez` with this content.
    pub(crate) fn stored(content: &[u8]) -> Vec<u8> {
        let mut bytes = b"\0\0\0\x1a\0\0\0\0".to_vec();
        bytes.extend((content.len() as u64).to_be_bytes());
        bytes.extend(&PLAIN[8..25]);
        bytes.push(0x19);
        let mut deflate = flate2::write::DeflateEncoder::new(bytes, flate2::Compression::best());
        deflate.write_all(content).unwrap();
        deflate.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_stopped_at_its_length() {
        let bomb = stored(&vec![0; 64 << 20]);
        assert_eq!(content(&bomb, 100), Err(Refused::Length(64 << 20)));
        let mut lies = bomb;
        lies[8..16].copy_from_slice(&100u64.to_be_bytes());
        assert_eq!(content(&lies, 100), Err(Refused::Length(101)));
    }

    #[test]
    fn what_is_torn_or_longer_than_its_content_is_refused() {
        let bytes = stored(b"some content, some content");
        assert_eq!(content(&bytes, 26).unwrap(), b"some content, some content");
        for length in 0..bytes.len() {
            assert!(content(&bytes[..length], 26).is_err(), "{length}");
        }
        let more = [&bytes[..], b"x"].concat();
        assert!(matches!(content(&more, 26), Err(Refused::Malformed(_))));
    }

    #[test]
    fn a_file_that_is_no_piece_is_refused() {
        let mut bytes = stored(b"x");
        bytes[27] = 0xed;
        assert_eq!(content(&bytes, 1), Err(Refused::NotPlain));
    }
}
