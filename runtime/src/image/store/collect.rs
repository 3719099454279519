//! Removing: names, images, and whatever belongs to no image; and checking what is there.
//!
//! The record goes before the files, so a cut in between leaves only files that nobody names, which
//! the next collection finds.

use std::collections::HashSet;
use std::io;

use super::super::digest::Digest;
use super::layout::Layout;
use super::locks::guard;
use super::record::{Images, Record};
use super::{ImageId, Store, StoreError};

impl Store {
    /// Removes a name; with its last name the image and every layer that no other image needs.
    /// Named by id, an image goes with all its names. `in_use` says which images containers have, and
    /// is asked when no new one can come about any more; such an image can lose a name but not its
    /// last, and neither can one that somebody has as an [`Image`](super::Image).
    ///
    /// # Errors
    /// When there is no such image, or a container uses it.
    pub fn remove(&self, name: &str, in_use: impl Fn(&ImageId) -> bool) -> Result<(), StoreError> {
        let _changing = guard(&self.inner.changes);
        let mut images = guard(&self.inner.state).images.clone();
        let missing = || StoreError::NotFound(name.to_owned());
        let id = images.find(name).ok_or_else(missing)?.id.clone();
        let reference = name.parse().ok();
        let at = images
            .images
            .iter()
            .position(|r| r.id == id)
            .ok_or_else(missing)?;
        let record = &mut images.images[at];
        match reference.filter(|r| record.names.contains(r)) {
            Some(reference) => record.names.retain(|n| *n != reference),
            None => record.names.clear(),
        }
        if record.names.is_empty() {
            images.images.remove(at);
            if !self.announce_removal(&id) || in_use(&id) {
                guard(&self.inner.state).going = None;
                return Err(StoreError::InUse(name.to_owned()));
            }
        }
        let replaced = self.replace(images);
        guard(&self.inner.state).going = None;
        replaced?;
        Ok(self.collect_now()?)
    }

    /// From now on the image is not found; false when somebody has it.
    fn announce_removal(&self, id: &ImageId) -> bool {
        let mut state = guard(&self.inner.state);
        let is_free = !self.inner.pins.is_pinned(id);
        if is_free {
            state.going = Some(id.clone());
        }
        is_free
    }

    /// Removes images without a name that no container uses, parts of downloads that nobody is at,
    /// and whatever belongs to no image. Returns the images that went.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn prune(&self, in_use: &[ImageId]) -> Result<Vec<ImageId>, StoreError> {
        let _changing = guard(&self.inner.changes);
        let old = guard(&self.inner.state).images.clone();
        let mut images = old.clone();
        let is_kept = |r: &Record| {
            !r.names.is_empty() || in_use.contains(&r.id) || self.inner.pins.is_pinned(&r.id)
        };
        let gone = images
            .images
            .iter()
            .filter(|r| !is_kept(r))
            .map(|r| r.id.clone())
            .collect();
        images.images.retain(is_kept);
        if images != old {
            self.replace(images)?;
        }
        let layout = &self.inner.layout;
        for part in layout.parts()? {
            let hex = part.file_name().unwrap_or_default().to_string_lossy();
            let held = ["sha256", "sha512"]
                .iter()
                .filter_map(|name| format!("{name}:{hex}").parse().ok())
                .any(|digest: Digest| self.inner.blob_locks.is_held(&digest));
            if !held {
                super::layout::remove_tree(&part)?;
            }
        }
        self.collect_now()?;
        Ok(gone)
    }

    /// Removes blobs and layers that no image names and no running pull needs.
    pub(super) fn collect(&self) -> io::Result<()> {
        let _changing = guard(&self.inner.changes);
        self.collect_now()
    }

    /// As `collect`, with `changes` held by the caller.
    fn collect_now(&self) -> io::Result<()> {
        let layout = &self.inner.layout;
        let collected = self.collect_from(layout);
        super::reserve::keep(&layout.reserve());
        collected
    }

    fn collect_from(&self, layout: &Layout) -> io::Result<()> {
        let images = guard(&self.inner.state).images.images.clone();
        let blobs: HashSet<_> = images.iter().flat_map(|r| [&r.id, &r.manifest]).collect();
        for (digest, path) in layout.blobs()? {
            if !blobs.contains(&digest) {
                sys::durable::remove(&path)?;
            }
        }
        let layers: HashSet<_> = images
            .iter()
            .flat_map(|r| &r.layers)
            .map(Digest::hex)
            .collect();
        for path in layout.layers()? {
            let hex = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let pinned = ["sha256", "sha512"]
                .iter()
                .filter_map(|name| format!("{name}:{hex}").parse().ok())
                .any(|digest: Digest| self.inner.pins.is_pinned(&digest));
            if !layers.contains(hex.as_str()) && !pinned {
                layout.remove_layer(&path)?;
            }
        }
        Ok(())
    }

    /// Verifies every blob's digest and that each image's blobs and layers exist; returns what is
    /// wrong, one line each.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let layout = &self.inner.layout;
        let mut wrong = Vec::new();
        for (digest, path) in layout.blobs()? {
            let mut hasher = digest.hasher();
            hasher.update(&std::fs::read(&path)?);
            let got = hasher.finish();
            if got != digest {
                wrong.push(format!("blob {digest}: its content is {got}"));
            }
        }
        let images = guard(&self.inner.state).images.images.clone();
        for record in images {
            let id = record.id.short().to_owned();
            for blob in [&record.id, &record.manifest] {
                if !layout.blob(blob).exists() {
                    wrong.push(format!("image {id}: blob {blob} is missing"));
                }
            }
            for layer in &record.layers {
                match layout.layer_info(layer) {
                    Ok(Some(_)) if layout.diff(layer).is_dir() => {}
                    Ok(_) => wrong.push(format!("image {id}: layer {layer} is missing")),
                    Err(e) => wrong.push(format!("image {id}: layer {layer}: {e}")),
                }
            }
        }
        Ok(wrong)
    }

    pub(super) fn replace(&self, new: Images) -> io::Result<()> {
        let layout = &self.inner.layout;
        super::reserve::spend(&layout.reserve(), || new.save(&layout.images()))?;
        let mut state = guard(&self.inner.state);
        state
            .configs
            .retain(|id, _| new.images.iter().any(|r| r.id == *id));
        state.images = new;
        Ok(())
    }
}
