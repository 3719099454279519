//! Content digests: the only names the store trusts.
//!
//! A [`Digest`] can hold nothing but a well-formed sha256 or sha512; it never says that content
//! matches, only a [`Hasher`] does.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// The hash functions that OCI registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal characters.
    Sha256,
    /// SHA-512, 128 hexadecimal characters.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// `sha256:…` or `sha512:…` in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// The id of an uncompressed layer: the digest of its tar stream.
pub type DiffId = Digest;

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon.
    #[error("`{0}` is no digest: expected ALGORITHM:HEX, for example sha256:9f86d0…")]
    Shape(String),
    /// The algorithm is not one of the two.
    #[error("digest algorithm `{0}` is not supported: expected sha256 or sha512")]
    Algorithm(String),
    /// Wrong number of characters, or one that is not lower-case hexadecimal.
    #[error("digest `{0}` must have {1} lower-case hexadecimal characters after the colon")]
    Hex(String, usize),
}

impl Digest {
    /// The digest of bytes at hand, by SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What stands after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve characters, as people read them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// A fresh hasher of this digest's algorithm.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Shape(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::Algorithm(other.to_owned())),
        };
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex || hex.len() != algorithm.hex_len() {
            return Err(DigestError::Hex(text.to_owned(), algorithm.hex_len()));
        }
        let hex = hex.to_owned();
        Ok(Self { algorithm, hex })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A hash in the making, fed as bytes stream by.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256 so far.
    Sha256(Sha256),
    /// SHA-512 so far.
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => digest_of(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => digest_of(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hex = String::with_capacity(algorithm.hex_len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Digest { algorithm, hex }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_that_of_its_bytes() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
        let mut long = Hasher::new(Algorithm::Sha512);
        long.update(b"abc");
        let text = long.finish().to_string();
        assert!(text.starts_with("sha512:ddaf35a193617abacc417349ae2041"));
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_digest_is_refused_and_says_why() {
        for (text, part) in [
            ("", "no digest"),
            ("e3b0", "no digest"),
            ("sha256:", "64 lower-case"),
            ("sha256:abc", "64 lower-case"),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                "`md5` is not supported",
            ),
            ("SHA256:e3b0", "`SHA256` is not supported"),
            ("sha256:../../../../etc/passwd", "64 lower-case"),
        ] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let upper = EMPTY.to_uppercase().replace("SHA", "sha");
        assert!(upper.parse::<Digest>().is_err());
        assert!(format!("{EMPTY}0").parse::<Digest>().is_err());
        assert!(serde_json::from_str::<Digest>("\"sha256:x\"").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_digest_that_prints_differently(text in "\\PC*") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn pieces_hash_like_the_whole(bytes: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(bytes.len() + 1);
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            prop_assert_eq!(hasher.finish(), Digest::of(&bytes));
        }
    }
}
