//! The root: which keys may sign what. Rotated by a new root that the old one's keys sign.
//!
//! The rules of The Update Framework's specification, section 5.3: version `N + 1` is signed by the
//! threshold of `N` and by its own. Verifies nothing: see `updater::trust`.

use serde::{Deserialize, Serialize};

use crate::digest::PublicKey;
use crate::name::Name;
use crate::signed::{Document, FormatError, MAX_SIGNATURES};

/// The keys of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// [`Document::KIND`].
    pub document: String,
    /// Whose keys.
    pub product: Name,
    /// Counts from 1.
    pub version: u64,
    /// Seconds since the epoch.
    pub created: u64,
    /// Seconds since the epoch: a newer one is needed from then on.
    pub expires: u64,
    /// Who signs the next root.
    pub root: Keys,
    /// Who signs releases; kept offline.
    pub release: Keys,
    /// Who signs channels; online.
    pub channel: Keys,
}

/// Who may sign, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// How many of `keys` must sign.
    pub threshold: u32,
    /// In order, each once.
    pub keys: Vec<PublicKey>,
}

impl Document for Root {
    const KIND: &'static str = "skeg-root-1";
    const LIMIT: usize = 32 << 10;

    fn document(&self) -> &str {
        &self.document
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.document != Self::KIND {
            return Self::wrong("document", Self::KIND);
        }
        if self.version == 0 {
            return Self::wrong("version", "expected a number from 1 on");
        }
        if self.expires <= self.created {
            return Self::wrong("expires", "expected a time after `created`");
        }
        for (name, keys) in [
            ("root", &self.root),
            ("release", &self.release),
            ("channel", &self.channel),
        ] {
            let count = keys.keys.len();
            if count > MAX_SIGNATURES || !keys.keys.windows(2).all(|two| two[0] < two[1]) {
                return Self::wrong(name, "expected at most 32 keys in order, each once");
            }
            if keys.threshold == 0 || keys.threshold as usize > count {
                return Self::wrong(name, "expected a threshold of 1 to the number of keys");
            }
        }
        Ok(())
    }
}
