//! The store.
//! x
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use oci_spec::image::ImageConfiguration;

use super::{DiffId, Digest, Reference, Registries};

/// An image's id: the digest of its configuration.
pub type ImageId = Digest;

/// One image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// The names that people gave it by pulling; none if another image took them over.
    pub names: Vec<Reference>,
    /// The digest of the manifest for this platform.
    pub manifest_digest: Digest,
    /// What to run and how.
    pub config: Arc<ImageConfiguration>,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// Bytes of file content over all layers, unpacked.
    pub size: u64,
    /// When it was pulled last.
    pub pulled_at: SystemTime,
}

/// What a pull is doing, told as it goes.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The layer's digest as the manifest has it (compressed).
    pub layer: Digest,
    /// What is happening to it.
    pub phase: Phase,
    /// Bytes done of `total`, in this phase.
    pub done: u64,
    /// Compressed bytes in all.
    pub total: u64,
}

/// Where a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another pull is at it, or too many downloads are under way.
    Waiting,
    /// Bytes are coming in.
    Downloading,
    /// It is whole and verified, and being unpacked.
    Extracting,
    /// It is in the store.
    Ready,
}

/// A pull that failed: `pull docker.io/library/redis:7: layer sha256:…: expected 1204 bytes, got 900`.
#[derive(Debug, thiserror::Error)]
#[error("pull {reference}: {cause}")]
pub struct PullError {
    /// The image asked for.
    pub reference: String,
    /// What went wrong.
    pub cause: String,
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
    /// A file operation failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The content-addressed store below one folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<PathBuf>,
}

impl Store {
    /// Opens or creates the store, and clears what an interrupted program left behind.
    ///
    /// # Errors
    /// When the folder cannot be made, read or locked.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            root: Arc::new(root.to_owned()),
        })
    }

    /// Pulls an image, or finds that all of it is here.
    ///
    /// # Errors
    /// See [`PullError`]. A failed pull changes no image and leaves no layer.
    pub async fn pull(
        &self,
        reference: &Reference,
        registries: &Registries,
        progress: impl Fn(Progress),
    ) -> Result<Image, PullError> {
        let _ = (registries, progress);
        let cause = format!("not built yet: {}", self.root.display());
        Err(PullError {
            reference: reference.to_string(),
            cause,
        })
    }

    /// Finds an image by reference, full id, or a prefix of its id that fits only one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Image> {
        let _ = name;
        None
    }

    /// All images, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        Vec::new()
    }

    /// Removes a name; with its last name the image and every layer that no other image needs.
    /// `in_use` are the ids of the images that containers have.
    ///
    /// # Errors
    /// When there is no such image, or a container uses it.
    pub fn remove(&self, name: &str, in_use: &[ImageId]) -> Result<(), StoreError> {
        let _ = in_use;
        Err(StoreError::NotFound(name.to_owned()))
    }

    /// Removes images without a name that no container uses, and whatever belongs to no image.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn prune(&self, in_use: &[ImageId]) -> Result<Vec<ImageId>, StoreError> {
        let _ = in_use;
        Ok(Vec::new())
    }

    /// The image's layers as `overlay` wants them: topmost first.
    #[must_use]
    pub fn lower_dirs(&self, image: &Image) -> Vec<PathBuf> {
        let _ = image;
        Vec::new()
    }

    /// Verifies every blob's digest and that each image's layers exist; returns what is wrong.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
