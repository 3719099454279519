//! Signatures by a threshold of keys, and the root that says which keys.
//!
//! A key counts once, however often it signed; a signature of an unknown key counts for nothing.

use formats::name::Name;
use formats::root::{Keys, Root};
use formats::signed::{Document, Envelope};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Clock, TrustError};

/// A root that this host believes: the image's, or one that the former's keys led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoot(Root);

impl TrustedRoot {
    /// The root that came with the image, which is trusted as the image is. It must have signed itself.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn pinned(file: &[u8]) -> Result<Self, TrustError> {
        let (root, envelope) = open::<Root>(file)?;
        by_threshold(&root.root, &envelope, "root").map_err(|source| by_own(&root, source))?;
        Ok(Self(root))
    }

    /// The next root, when the keys of this one and its own signed it.
    ///
    /// # Errors
    /// When they did not, or it is not the next. Expiry is judged on the last root only: see
    /// [`TrustedRoot::is_current`].
    pub fn rotate(&self, file: &[u8]) -> Result<Self, TrustError> {
        let (next, envelope) = open::<Root>(file)?;
        by_threshold(&self.0.root, &envelope, "root").map_err(|source| {
            let (version, before) = (next.version, self.0.version);
            let source = Box::new(source);
            TrustError::RootNotByOld {
                version,
                before,
                source,
            }
        })?;
        by_threshold(&next.root, &envelope, "root").map_err(|source| by_own(&next, source))?;
        is_ours("root", &self.0.product, &next.product)?;
        let expected = self.0.version.saturating_add(1);
        if next.version != expected {
            let found = next.version;
            return Err(TrustError::RootOrder { expected, found });
        }
        Ok(Self(next))
    }

    /// Whether it may be used now.
    ///
    /// # Errors
    /// When it has expired, or the clock cannot be right.
    pub const fn is_current(&self, clock: Clock) -> Result<(), TrustError> {
        clock.judge("root", self.0.created, self.0.expires)
    }

    /// Counts from 1.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.0.version
    }

    /// Whose keys they are.
    #[must_use]
    pub const fn product(&self) -> &Name {
        &self.0.product
    }

    pub(super) const fn release_keys(&self) -> &Keys {
        &self.0.release
    }

    pub(super) const fn channel_keys(&self) -> &Keys {
        &self.0.channel
    }
}

fn by_own(root: &Root, source: TrustError) -> TrustError {
    TrustError::RootNotByOwn {
        version: root.version,
        source: Box::new(source),
    }
}

pub(super) fn open<D: Document>(file: &[u8]) -> Result<(D, Envelope<'_>), TrustError> {
    let envelope = Envelope::parse::<D>(file)?;
    Ok((D::parse(envelope.document)?, envelope))
}

pub(super) fn is_ours(
    document: &'static str,
    expected: &Name,
    found: &Name,
) -> Result<(), TrustError> {
    if expected == found {
        return Ok(());
    }
    Err(TrustError::Product {
        document,
        expected: expected.clone(),
        found: found.clone(),
    })
}

/// Whether enough of these keys signed a document's bytes.
pub(super) fn by_threshold(
    keys: &Keys,
    envelope: &Envelope,
    document: &'static str,
) -> Result<(), TrustError> {
    let needed = keys.threshold;
    let known = |key| keys.keys.binary_search(key).is_ok();
    let mut found = 0;
    // The envelope has each key once, so whoever is counted here is counted once.
    for signature in &envelope.signatures {
        if !known(&signature.key) {
            continue;
        }
        let key = UnparsedPublicKey::new(&ED25519, signature.key.0);
        if key
            .verify(envelope.document, &signature.signature.0)
            .is_err()
        {
            let key = signature.key.to_string();
            return Err(TrustError::BadSignature { document, key });
        }
        found += 1;
    }
    if found >= needed {
        return Ok(());
    }
    Err(match envelope.signatures.first() {
        None => TrustError::Unsigned {
            document,
            needed,
            known: keys.keys.len(),
        },
        Some(first) if found == 0 => TrustError::UnknownKeys {
            document,
            key: first.key.to_string(),
        },
        Some(_) => TrustError::Threshold {
            document,
            found,
            needed,
        },
    })
}
