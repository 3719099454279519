//! Signed documents: one line of JSON, then one line of JSON for each signature over the first.
//!
//! ```text
//! {"document":"skeg-release-1",…}
//! {"key":"<ed25519 public key>","signature":"<over the bytes of the first line, without its end>"}
//! ```
//!
//! A document has one form: what parses is what is written, byte for byte. Its first field says what
//! it is, so a signature for one kind is none for another. Verifies nothing: see `updater::trust`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::{PublicKey, SignatureBytes};

/// More signatures than anyone has keys for.
pub const MAX_SIGNATURES: usize = 32;
/// What the signatures' lines may add to a document's limit, in bytes.
const SIGNATURES: usize = MAX_SIGNATURES * 256;

/// Why bytes are no such document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Longer than any real one. Found before anything is parsed.
    #[error("{kind}: expected at most {limit} bytes, found {found}")]
    TooLong {
        /// What it should be.
        kind: &'static str,
        /// Bytes allowed.
        limit: usize,
        /// Bytes found, or how many were read before giving up.
        found: usize,
    },
    /// Not JSON, or not with these fields.
    #[error("{kind}: {message}")]
    Syntax {
        /// What it should be.
        kind: &'static str,
        /// What the parser says.
        message: String,
    },
    /// Another kind or version of document.
    #[error("expected a document {kind:?}, found {found:?}")]
    Kind {
        /// What it should be.
        kind: &'static str,
        /// What it says it is.
        found: String,
    },
    /// It means the same, and is not written as we write it.
    #[error("{kind}: not in its one form: spaces, order of fields or spelling differ")]
    NotCanonical {
        /// What it should be.
        kind: &'static str,
    },
    /// A field holds what it cannot.
    #[error("{kind}: {field}: {message}")]
    Field {
        /// What it should be.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What was expected.
        message: String,
    },
}

/// A kind of document.
pub trait Document: Serialize + DeserializeOwned {
    /// Its name and version, the value of its first field `document`.
    const KIND: &'static str;
    /// Bytes that it may have, without signatures.
    const LIMIT: usize;

    /// What the type of the fields does not say.
    ///
    /// # Errors
    /// [`FormatError::Field`].
    fn check(&self) -> Result<(), FormatError>;

    /// The value of its field `document`.
    fn document(&self) -> &str;

    /// What is wrong with a field, for [`Document::check`].
    ///
    /// # Errors
    /// Always.
    fn wrong(field: &'static str, message: &str) -> Result<(), FormatError> {
        Err(FormatError::Field {
            kind: Self::KIND,
            field,
            message: message.to_owned(),
        })
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// When a field holds what it cannot, or the document is too long.
    fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let bytes = serde_json::to_vec(self).map_err(syntax::<Self>)?;
        within::<Self>(bytes.len(), Self::LIMIT)?;
        Ok(bytes)
    }

    /// Reads the bytes that were signed.
    ///
    /// # Errors
    /// See [`FormatError`].
    fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        within::<Self>(bytes.len(), Self::LIMIT)?;
        // Before its fields, so that a newer document is not called malformed.
        let head: Head = serde_json::from_slice(bytes).map_err(syntax::<Self>)?;
        if head.document != Self::KIND {
            return Err(FormatError::Kind {
                kind: Self::KIND,
                found: head.document.chars().take(64).collect(),
            });
        }
        let value: Self = serde_json::from_slice(bytes).map_err(syntax::<Self>)?;
        if value.to_bytes()? != bytes {
            return Err(FormatError::NotCanonical { kind: Self::KIND });
        }
        Ok(value)
    }
}

#[derive(Deserialize)]
struct Head {
    document: String,
}

fn syntax<D: Document>(error: serde_json::Error) -> FormatError {
    FormatError::Syntax {
        kind: D::KIND,
        message: error.to_string(),
    }
}

const fn within<D: Document>(found: usize, limit: usize) -> Result<(), FormatError> {
    if found > limit {
        let kind = D::KIND;
        return Err(FormatError::TooLong { kind, limit, found });
    }
    Ok(())
}

/// A signature, and the key that it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The public key.
    pub key: PublicKey,
    /// Over the document's bytes.
    pub signature: SignatureBytes,
}

/// A document's bytes and its signatures, by key. None of them is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The bytes that are signed.
    pub document: &'a [u8],
    /// One for each key at most.
    pub signatures: Vec<Signature>,
}

/// Bytes that a whole file of this kind may have: fetch no more.
#[must_use]
pub const fn limit<D: Document>() -> usize {
    D::LIMIT + SIGNATURES
}

impl<'a> Envelope<'a> {
    /// Reads a file, bounded before it is looked at.
    ///
    /// # Errors
    /// When it is too long, or no line of JSON and lines of signatures in the order of their keys.
    pub fn parse<D: Document>(file: &'a [u8]) -> Result<Self, FormatError> {
        within::<D>(file.len(), limit::<D>())?;
        let bad = |message: &str| FormatError::Syntax {
            kind: D::KIND,
            message: message.to_owned(),
        };
        let lines = file.strip_suffix(b"\n");
        let lines = lines.ok_or_else(|| bad("its last line has no end: it is torn"))?;
        let mut lines = lines.split(|byte| *byte == b'\n');
        let document = lines.next().unwrap_or_default();
        let mut signatures: Vec<Signature> = Vec::new();
        for line in lines {
            let next: Signature = serde_json::from_slice(line).map_err(syntax::<D>)?;
            if serde_json::to_vec(&next).map_err(syntax::<D>)? != line {
                return Err(FormatError::NotCanonical { kind: D::KIND });
            }
            if signatures.last().is_some_and(|last| last.key >= next.key) {
                return Err(bad(
                    "its signatures are not in the order of their keys, each once",
                ));
            }
            if signatures.len() == MAX_SIGNATURES {
                return Err(bad("it has more signatures than keys can be"));
            }
            signatures.push(next);
        }
        Ok(Self {
            document,
            signatures,
        })
    }
}

/// A file of a document and its signatures; of two with the same key the first is kept.
#[must_use]
pub fn seal(document: &[u8], signatures: &[Signature]) -> Vec<u8> {
    let mut sorted = signatures.to_vec();
    sorted.sort_by_key(|signature| signature.key);
    sorted.dedup_by_key(|signature| signature.key);
    let mut file = document.to_vec();
    file.push(b'\n');
    for Signature { key, signature } in sorted {
        file.extend(format!("{{\"key\":\"{key}\",\"signature\":\"{signature}\"}}\n").bytes());
    }
    file
}

#[cfg(test)]
mod tests;
