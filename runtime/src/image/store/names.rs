//! Names of images that are there, and what is known of their layers.
//!
//! Nothing is fetched, and no image comes or goes.

use super::super::reference::Reference;
use super::locks::guard;
use super::record::Record;
use super::{Image, Store, StoreError};

impl Store {
    /// Gives an image one more name, which leaves the image that had it.
    ///
    /// # Errors
    /// When it is not there any more, or the list cannot be written.
    pub fn tag(&self, image: &Image, name: Reference) -> Result<(), StoreError> {
        self.change(image, |record| {
            if !record.names.contains(&name) {
                record.names.push(name.clone());
            }
        })
    }

    /// Takes all its names from an image, which stays.
    ///
    /// # Errors
    /// As [`Store::tag`].
    pub fn untag(&self, image: &Image) -> Result<(), StoreError> {
        self.change(image, |record| record.names.clear())
    }

    fn change(&self, image: &Image, change: impl Fn(&mut Record)) -> Result<(), StoreError> {
        let _changing = guard(&self.inner.changes);
        let mut images = guard(&self.inner.state).images.clone();
        let missing = || StoreError::NotFound(image.id.to_string());
        let at = images.images.iter().position(|r| r.id == image.id);
        let mut record = images.images.swap_remove(at.ok_or_else(missing)?);
        change(&mut record);
        images.insert(record);
        Ok(self.replace(images)?)
    }

    /// Bytes of each of the image's layers, lowest first.
    #[must_use]
    pub fn layer_sizes(&self, image: &Image) -> Vec<u64> {
        let size = |id| {
            let info = self.inner.layout.layer_info(id);
            info.ok().flatten().map_or(0, |info| info.size)
        };
        image.layers.iter().map(size).collect()
    }
}
