//! Keys: seeds of ed25519 in files, one folder for each role, and the root that names them.
//!
//! ```text
//! KEYS/root/1.key  KEYS/release/1.key  KEYS/channel/1.key      64 hexadecimal digits, mode 0600
//! ```
//!
//! Folders of roles may lie on different machines: whoever signs needs those of its role only.

use std::fs;
use std::path::{Path, PathBuf};

use formats::digest::{Hex, PublicKey};
use formats::root::Keys;
use formats::signed::{Document, Signature, seal};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::PublishError;

/// Keys of one role, with their private halves.
pub struct Signers(Vec<Ed25519KeyPair>);

impl Signers {
    /// Makes `count` new keys in a folder that must not have any.
    ///
    /// # Errors
    /// When there are some, or they cannot be written.
    pub fn make(folder: &Path, count: usize) -> Result<Self, PublishError> {
        let named = |source| PublishError::Io {
            path: folder.to_owned(),
            source,
        };
        sys::durable::create_dir_all(folder).map_err(named)?;
        if !files(folder)?.is_empty() {
            return Err(PublishError::Key {
                path: folder.to_owned(),
                message: "there are keys already: use another folder".to_owned(),
            });
        }
        for number in 1..=count {
            let mut seed = [0; 32];
            let made = SystemRandom::new().fill(&mut seed);
            made.map_err(|_| named(std::io::Error::other("no random bytes to be had")))?;
            let path = folder.join(format!("{number}.key"));
            let text = format!("{}\n", Hex(seed));
            sys::durable::write(&path, text.as_bytes(), 0o600).map_err(named)?;
        }
        Self::read(folder)
    }

    /// Reads a role's folder.
    ///
    /// # Errors
    /// When there is none, or a file in it is no key.
    pub fn read(folder: &Path) -> Result<Self, PublishError> {
        let keys = files(folder)?.into_iter().map(|path| {
            let text = fs::read_to_string(&path).map_err(|source| PublishError::Io {
                path: path.clone(),
                source,
            })?;
            let bad = || PublishError::Key {
                path: path.clone(),
                message: "expected a key: 64 hexadecimal digits".to_owned(),
            };
            let seed: Hex<32> = text.trim_end().parse().map_err(|_| bad())?;
            Ed25519KeyPair::from_seed_unchecked(&seed.0).map_err(|_| bad())
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    fn public(key: &Ed25519KeyPair) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(key.public_key().as_ref());
        Hex(bytes)
    }

    /// The public halves, `threshold` of which must sign.
    #[must_use]
    pub fn keys(&self, threshold: u32) -> Keys {
        let mut keys: Vec<_> = self.0.iter().map(Self::public).collect();
        keys.sort_unstable();
        keys.dedup();
        Keys { threshold, keys }
    }

    /// Signatures of those of our keys that are among `known`.
    ///
    /// # Errors
    /// When they are too few.
    pub fn sign(
        &self,
        what: &'static str,
        known: &Keys,
        document: &[u8],
    ) -> Result<Vec<Signature>, PublishError> {
        let ours = self
            .0
            .iter()
            .filter(|key| known.keys.contains(&Self::public(key)));
        let signatures: Vec<_> = ours
            .map(|key| {
                let mut bytes = [0; 64];
                bytes.copy_from_slice(key.sign(document).as_ref());
                Signature {
                    key: Self::public(key),
                    signature: Hex(bytes),
                }
            })
            .collect();
        let (found, needed) = (signatures.len(), known.threshold);
        if found < needed as usize {
            return Err(PublishError::TooFewKeys {
                what,
                found,
                needed,
            });
        }
        Ok(signatures)
    }

    /// A document's file, signed.
    ///
    /// # Errors
    /// When it is none, or our keys are too few.
    pub fn seal<D: Document>(
        &self,
        what: &'static str,
        known: &Keys,
        document: &D,
    ) -> Result<Vec<u8>, PublishError> {
        let bytes = document.to_bytes()?;
        let signatures = self.sign(what, known, &bytes)?;
        Ok(seal(&bytes, &signatures))
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let entries = fs::read_dir(folder).map_err(|source| PublishError::Io {
        path: folder.to_owned(),
        source,
    })?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut keys: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "key"))
        .collect();
    keys.sort();
    Ok(keys)
}
