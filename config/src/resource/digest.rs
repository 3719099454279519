//! `sha256-HEX` and `sha512-HEX`.
//!
//! Compares no more than digests, which are no secret.

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use ring::digest::{Algorithm, SHA256, SHA512, digest};

/// What bytes must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    algorithm: &'static Algorithm,
    bytes: Vec<u8>,
}

impl Digest {
    /// Reads `TYPE-HEX`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected sha512- or sha256- and its digits, 128 or 64".to_owned();
        let (name, hex) = text.split_once('-').ok_or_else(expected)?;
        let algorithm = match name {
            "sha256" => &SHA256,
            "sha512" => &SHA512,
            _ => return Err(expected()),
        };
        let bytes = HEX.decode(hex.as_bytes()).map_err(|_| expected())?;
        if bytes.len() != algorithm.output_len() {
            return Err(expected());
        }
        Ok(Self { algorithm, bytes })
    }

    /// Whether it is one of 256 bits.
    #[must_use]
    pub fn is_sha256(&self) -> bool {
        self.algorithm == &SHA256
    }

    /// Whether these bytes have it.
    ///
    /// # Errors
    /// Both digests, when they differ.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), String> {
        let found = digest(self.algorithm, bytes);
        if found.as_ref() == self.bytes {
            return Ok(());
        }
        let name = if self.is_sha256() { "sha256" } else { "sha512" };
        let (wanted, found) = (HEX.encode(&self.bytes), HEX.encode(found.as_ref()));
        Err(format!("expected {name}-{wanted}, got {name}-{found}"))
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    HEX.encode(digest(&SHA256, bytes).as_ref())
}
