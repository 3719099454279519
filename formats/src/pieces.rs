//! Pieces: how a release's file is cut, so that a host fetches what it lacks and no more.
//!
//! A piece is a file of the commit, named by its offset in eight hexadecimal digits; the next one's
//! name tells its length. Publisher and host cut alike, so this is a contract.

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
