//! What a pull or another operation of the store refuses, and why.

use std::io;

use super::super::digest::{Digest, DigestError};
use super::super::manifest::ManifestError;
use super::super::platform::{NoPlatform, Platform};
use super::super::reference::Reference;
use super::super::registry::RegistryError;
use super::super::unpack::UnpackError;

/// A pull that failed: `pull docker.io/library/redis:7: layer sha256:…: expected 1204 bytes, got 900`.
#[derive(Debug, thiserror::Error)]
#[error("pull {reference}: {cause}")]
pub struct PullError {
    /// The image asked for.
    pub reference: Reference,
    /// What went wrong.
    #[source]
    pub cause: PullCause,
}

/// What went wrong in a pull.
#[derive(Debug, thiserror::Error)]
pub enum PullCause {
    /// Something of the image in particular.
    #[error("{part}: {problem}")]
    Part {
        /// `manifest`, `config sha256:…` or `layer sha256:…`.
        part: String,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
    /// No image of the index fits.
    #[error(transparent)]
    Platform(#[from] NoPlatform),
    /// The only image there is for something else.
    #[error("the image is for {there}, this host is {wanted}")]
    Foreign {
        /// What it is for.
        there: Box<Platform>,
        /// What this host is.
        wanted: Box<Platform>,
    },
    /// The configuration of this host forbids it.
    #[error(transparent)]
    Registries(#[from] super::super::registries::RegistriesError),
    /// The client could not even be set up.
    #[error(transparent)]
    Client(RegistryError),
    /// The store itself.
    #[error("store: {0}")]
    Store(#[source] io::Error),
}

/// What is wrong with one manifest, configuration or layer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The registry or the way there.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Not as long as promised.
    #[error("expected {expected} bytes, got {got}{}", if *.more { " or more" } else { "" })]
    Length {
        /// As promised.
        expected: u64,
        /// As it came.
        got: u64,
        /// It was still coming when we stopped.
        more: bool,
    },
    /// Other bytes than promised.
    #[error("expected {expected}, got {got}")]
    Digest {
        /// As promised.
        expected: Digest,
        /// As it came.
        got: Digest,
    },
    /// The document cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The document names something that is no digest.
    #[error(transparent)]
    Name(#[from] DigestError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// The layer cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The disk is too full to begin.
    #[error("no space: needs {needed} bytes, {free} are free")]
    Space {
        /// What it takes at least.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// A file operation of ours failed.
    #[error("store: {0}")]
    Store(#[from] io::Error),
    /// Another layer of the image failed first.
    #[error("given up because of another layer")]
    GivenUp,
}

impl PullError {
    /// Whether the same pull may succeed later: the way was broken, not the image.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match &self.cause {
            PullCause::Part {
                problem: Problem::Registry(e),
                ..
            }
            | PullCause::Client(e) => e.is_transient(),
            _ => false,
        }
    }

    /// Whether the registry has no such image.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        let PullCause::Part { problem, .. } = &self.cause else {
            return false;
        };
        matches!(problem, Problem::Registry(RegistryError::NotFound(_)))
    }
}

/// Anything else the store refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing has that name or id.
    #[error("no image `{0}` in the store")]
    NotFound(String),
    /// A container uses it.
    #[error("image `{0}` is in use by a container: remove the container first")]
    InUse(String),
    /// Another process has the store open.
    #[error("the store {0} is open in another process")]
    Locked(String),
    /// A file operation failed.
    #[error("store: {0}")]
    Io(#[from] io::Error),
}
