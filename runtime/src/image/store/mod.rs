//! The content-addressed store: verified blobs, unpacked layers, and the list of images.
//!
//! It never shows a layer that is not whole, and never removes one that an image, a container or a
//! running pull needs. One process has it open at a time.
//!
//! ```text
//! images.json           the images and their names
//! blobs/sha256/HEX      manifests and configurations
//! layers/HEX/diff       a layer's content, as overlay wants it; HEX is its diff id
//! layers/HEX/layer.json its size
//! ingest/HEX            a download under way
//! tmp/                  what is in the making; emptied at start
//! reserve               room for removals on a full disk
//! ```

mod cache;
mod collect;
mod download;
mod error;
mod layers;
mod layout;
mod locks;
mod names;
mod pull;
mod record;
mod reserve;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use oci_spec::image::ImageConfiguration;
use tokio::sync::Semaphore;

use super::platform::Platform;
use super::registry::{Client, Login, RegistryError, Settings};
use super::unpack::Limits;
use super::{DiffId, Digest, Reference, Registries};
pub use error::{Problem, PullCause, PullError, StoreError};
use layout::Layout;
use locks::{Locks, Pinned, Pins, guard};
use pull::Pull;
use record::{Images, Record};

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
    /// While somebody has this value, the image is not removed.
    _pinned: Arc<Pinned>,
}

/// What a pull is doing, told as it goes.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The layer's digest as the manifest has it (compressed).
    pub layer: Digest,
    /// What is happening to it.
    pub phase: Phase,
    /// Bytes downloaded of `total`.
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

/// How a store behaves; the defaults are the host's.
#[derive(Debug, Clone)]
pub struct Options {
    /// Registries: credentials, certificates, timeouts.
    pub client: Settings,
    /// What one layer may cost.
    pub limits: Limits,
    /// Downloads at a time, over all pulls.
    pub downloads: usize,
    /// Layers unpacked at a time, over all pulls.
    pub extractions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client: Settings::default(),
            limits: Limits::default(),
            downloads: 3,
            extractions: 2,
        }
    }
}

/// The store below one folder. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    options: Options,
    platform: Platform,
    state: Mutex<State>,
    /// Held while records and files change, so that `state` is never locked across a disk write.
    changes: Mutex<()>,
    layer_locks: Locks,
    blob_locks: Locks,
    pins: Arc<Pins>,
    downloads: Semaphore,
    extractions: Arc<Semaphore>,
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    images: Images,
    configs: HashMap<ImageId, Arc<ImageConfiguration>>,
    /// The image whose removal has been decided: nobody finds it any more.
    going: Option<ImageId>,
}

impl Store {
    /// Opens or creates the store, and clears what an interrupted program left behind.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another process has the store open.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_with(root, Options::default())
    }

    /// As [`Store::open`], with options of one's own.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(root: &Path, options: Options) -> Result<Self, StoreError> {
        sys::durable::create_dir_all(root)?;
        let lock = take_lock(root)?;
        let layout = Layout::open(root)?;
        reserve::keep(&layout.reserve());
        let images = Images::load(&layout.images())?;
        let configs = load_configs(&layout, &images);
        let inner = Inner {
            state: Mutex::new(State {
                images,
                configs,
                going: None,
            }),
            changes: Mutex::default(),
            platform: Platform::host(),
            layer_locks: Locks::default(),
            blob_locks: Locks::default(),
            pins: Arc::default(),
            downloads: Semaphore::new(options.downloads.max(1)),
            extractions: Arc::new(Semaphore::new(options.extractions.max(1))),
            layout,
            options,
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Pulls an image, or finds that all of it is here. `progress` is called as layers go on.
    ///
    /// # Errors
    /// See [`PullError`]. A failed pull changes no image; it leaves verified layers and parts of
    /// downloads only when trying again may help.
    pub async fn pull(
        &self,
        reference: &Reference,
        registries: &Registries,
        progress: impl Fn(Progress),
    ) -> Result<Image, PullError> {
        self.pull_as(reference, registries, None, progress).await
    }

    /// A client as pulls use it; `login` is for the registry of that name, and for no mirror of it.
    ///
    /// # Errors
    /// When the host's credentials are malformed.
    pub fn client(&self, login: Option<(String, Login)>) -> Result<Client, RegistryError> {
        Client::new(Settings {
            login,
            ..self.inner.options.client.clone()
        })
    }

    /// As [`Store::pull`], with a login of the user's own.
    ///
    /// # Errors
    /// As [`Store::pull`].
    pub async fn pull_as(
        &self,
        reference: &Reference,
        registries: &Registries,
        login: Option<Login>,
        progress: impl Fn(Progress),
    ) -> Result<Image, PullError> {
        if let Some(image) = self.pinned(reference) {
            return Ok(image);
        }
        let fail = |cause| PullError {
            reference: reference.clone(),
            cause,
        };
        let endpoints = registries
            .endpoints(reference)
            .map_err(|e| fail(e.into()))?;
        let client = self.client(login.map(|login| (reference.registry().to_owned(), login)));
        let client = client.map_err(|e| fail(PullCause::Client(e)))?;
        let mut last = None;
        for endpoint in &endpoints {
            let (client, progress) = (&client, &progress);
            let pull = Pull {
                store: self,
                client,
                endpoint,
                reference,
                progress,
            };
            match pull.run().await {
                Ok(record) => {
                    let image = self.image(&record);
                    let gone = || io::Error::other("the image was removed while it was pulled");
                    return image.ok_or_else(|| fail(PullCause::Store(gone())));
                }
                Err(cause) => {
                    if endpoints.len() > 1 {
                        tracing::info!(image = %reference, host = endpoint.host, %cause, "no luck here");
                    }
                    last = Some(cause);
                }
            }
        }
        let none = || PullCause::Store(io::Error::other("no place to pull from"));
        Err(fail(last.unwrap_or_else(none)))
    }

    /// What a digest names cannot have changed: if all of it is here, no registry is asked.
    fn pinned(&self, reference: &Reference) -> Option<Image> {
        let pinned = reference.with_digest(reference.digest()?.clone());
        let record = guard(&self.inner.state).images.named(&pinned)?.clone();
        let names = [Some(pinned), reference.tag_only()];
        let is_named = names
            .iter()
            .flatten()
            .all(|name| record.names.contains(name));
        let has = |id| matches!(self.inner.layout.layer_info(id), Ok(Some(_)));
        if is_named && record.layers.iter().all(has) {
            self.image(&record)
        } else {
            None
        }
    }

    /// Finds an image by reference, full id, or a prefix of its id that fits only one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Image> {
        let record = guard(&self.inner.state).images.find(name)?.clone();
        self.image(&record)
    }

    /// All images, the last pulled first.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        let mut records = guard(&self.inner.state).images.images.clone();
        records.sort_by(|a, b| (b.pulled_at, &a.id).cmp(&(a.pulled_at, &b.id)));
        records.iter().filter_map(|r| self.image(r)).collect()
    }

    /// The image's configuration as it was pulled, for the fields that are Docker's own
    /// (`Healthcheck`, `Shell`, …).
    ///
    /// # Errors
    /// When the blob cannot be read.
    pub fn config_json(&self, image: &Image) -> Result<serde_json::Value, StoreError> {
        let bytes = std::fs::read(self.inner.layout.blob(&image.id))?;
        Ok(serde_json::from_slice(&bytes).map_err(io::Error::from)?)
    }

    /// The image's layers as `overlay` wants them: topmost first, each once.
    ///
    /// The kernel refuses a folder that is given twice; only the topmost of equal layers counts
    /// anyway. A layer that hides everything below it ends the list, since overlay has no mark for
    /// that on a root.
    #[must_use]
    pub fn lower_dirs(&self, image: &Image) -> Vec<PathBuf> {
        let layout = &self.inner.layout;
        let mut folders = Vec::new();
        for id in image.layers.iter().rev() {
            let folder = layout.diff(id);
            if !folders.contains(&folder) {
                folders.push(folder);
            }
            if matches!(layout.layer_info(id), Ok(Some(info)) if info.is_opaque) {
                break;
            }
        }
        folders
    }

    /// Writes blobs, then the record: once it is there, all that it names is.
    fn commit(
        &self,
        record: Record,
        blobs: [(Digest, Vec<u8>); 2],
        config: ImageConfiguration,
    ) -> io::Result<()> {
        let _changing = guard(&self.inner.changes);
        for (digest, bytes) in blobs {
            sys::durable::write(&self.inner.layout.blob(&digest), &bytes, 0o600)?;
        }
        let mut images = guard(&self.inner.state).images.clone();
        let id = record.id.clone();
        images.insert(record);
        images.save(&self.inner.layout.images())?;
        let mut state = guard(&self.inner.state);
        state.images = images;
        state.configs.insert(id, Arc::new(config));
        Ok(())
    }

    fn image(&self, record: &Record) -> Option<Image> {
        let state = guard(&self.inner.state);
        if state.going.as_ref() == Some(&record.id) {
            return None;
        }
        let config = Arc::clone(state.configs.get(&record.id)?);
        let mut records = state.images.images.iter();
        let names = records.find(|r| r.id == record.id)?.names.clone();
        // Within the lock: a removal looks at the pins within it too.
        let pinned = self.inner.pins.pin(vec![record.id.clone()]);
        Some(Image {
            id: record.id.clone(),
            names,
            manifest_digest: record.manifest.clone(),
            config,
            layers: record.layers.clone(),
            size: record.size,
            pulled_at: record.pulled_at(),
            _pinned: Arc::new(pinned),
        })
    }
}

/// An image whose configuration is damaged is left out, and `check` names it.
fn load_configs(layout: &Layout, images: &Images) -> HashMap<ImageId, Arc<ImageConfiguration>> {
    let mut configs = HashMap::new();
    for record in &images.images {
        let read = || -> io::Result<ImageConfiguration> {
            Ok(serde_json::from_slice(&std::fs::read(
                layout.blob(&record.id),
            )?)?)
        };
        match read() {
            Ok(config) => drop(configs.insert(record.id.clone(), Arc::new(config))),
            Err(error) => tracing::warn!(image = %record.id, %error, "configuration is damaged"),
        }
    }
    configs
}

/// How long a lock may outlive its holder: a copy of it goes with every fork until the child's exec
/// closes it, and nothing tells when that is.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

fn take_lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked(root.display().to_string()));
            }
            Err(e) => return Err(io::Error::from(e).into()),
        }
    }
}

#[cfg(test)]
mod tests;
