//! The manifest of a release: what its files must be, and who may take it. Never changes.
//!
//! Signed by keys that are kept offline. It says which commit holds the files in pieces, and never
//! lists the pieces itself: see [`crate::pieces`].

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::name::Name;
use crate::signed::{Document, FormatError};
use crate::version::Version;

/// Bytes that a file of a release may have.
pub const MAX_FILE: u64 = 512 << 20;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`Document::KIND`].
    pub document: String,
    /// What it is a release of.
    pub product: Name,
    /// Its version.
    pub version: Version,
    /// The channels that may ever be at it, sorted.
    pub channels: Vec<Name>,
    /// The oldest version that may go to it in one step.
    pub minimum: Version,
    /// Seconds since the epoch.
    pub created: u64,
    /// Seconds since the epoch: not taken from then on.
    pub expires: u64,
    /// The ostree commit that holds the files.
    pub commit: Sha256,
    /// Its files: the UKI, then the loader if there is one.
    pub files: Vec<File>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What it is for.
    pub role: Role,
    /// Bytes.
    pub length: u64,
    /// Of the whole file.
    pub sha256: Sha256,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The unified kernel image.
    Uki,
    /// The boot loader, systemd-boot.
    Loader,
}

impl Role {
    /// The commit's folder that holds the file's pieces.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Uki => "uki",
            Self::Loader => "loader",
        }
    }
}

impl Manifest {
    /// The file of this role.
    #[must_use]
    pub fn file(&self, role: Role) -> Option<&File> {
        self.files.iter().find(|file| file.role == role)
    }
}

impl Document for Manifest {
    const KIND: &'static str = "skeg-release-1";
    const LIMIT: usize = 16 << 10;

    fn document(&self) -> &str {
        &self.document
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.document != Self::KIND {
            return Self::wrong("document", Self::KIND);
        }
        if self.expires <= self.created {
            return Self::wrong("expires", "expected a time after `created`");
        }
        if self.minimum > self.version {
            return Self::wrong("minimum", "expected a version that is not above `version`");
        }
        if self.channels.is_empty() || !self.channels.windows(2).all(|two| two[0] < two[1]) {
            return Self::wrong("channels", "expected names in order, at least one");
        }
        let roles: Vec<_> = self.files.iter().map(|file| file.role).collect();
        if roles != [Role::Uki] && roles != [Role::Uki, Role::Loader] {
            return Self::wrong("files", "expected a uki, and then a loader or nothing");
        }
        let lengths = self.files.iter().map(|file| file.length);
        if lengths
            .clone()
            .any(|length| length == 0 || length > MAX_FILE)
        {
            return Self::wrong("length", "expected 1 byte to 512 MiB");
        }
        Ok(())
    }
}
