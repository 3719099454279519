//! Fixed bytes that are written in hexadecimal: SHA-256 checksums, ed25519 keys and signatures.
//!
//! Hashes nothing and verifies nothing; one value has one spelling, in lower case.

use std::fmt;
use std::str::FromStr;

/// `N` bytes, written as `2 N` hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// A SHA-256 checksum (FIPS 180-4), or the checksum of an ostree object, which is one.
pub type Sha256 = Hex<32>;
/// An ed25519 public key (RFC 8032).
pub type PublicKey = Hex<32>;
/// An ed25519 signature (RFC 8032).
pub type SignatureBytes = Hex<64>;

/// A text that is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} digits of 0-9a-f, found {found:?}")]
pub struct BadHex {
    /// How many digits it should be.
    pub digits: usize,
    /// What was there, cut.
    pub found: String,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = BadHex;

    fn from_str(text: &str) -> Result<Self, BadHex> {
        let bad = || BadHex {
            digits: N * 2,
            found: text.chars().take(N * 2 + 8).collect(),
        };
        let mut bytes = [0; N];
        if text.len() != N * 2 {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let high = digit(pair[0]).ok_or_else(bad)?;
            *byte = high << 4 | digit(pair[1]).ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> serde::Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de, const N: usize> serde::Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        let value: Hex<2> = "0aff".parse().unwrap();
        assert_eq!(
            (value.0, value.to_string().as_str()),
            ([0x0a, 0xff], "0aff")
        );
        for bad in ["", "0af", "0AFF", "0aff0", "+aff", "0x0a", "é0a"] {
            assert!(bad.parse::<Hex<2>>().is_err(), "{bad}");
        }
    }
}
