//! `images.json`: which images the store has, and under which names.
//!
//! A value in memory, written whole and durably at each change. It never says that blobs or layers
//! exist; they are written before it and removed after it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::digest::{DiffId, Digest};
use super::super::reference::Reference;

const VERSION: u32 = 1;

/// All images of a store.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    version: u32,
    /// One record an image, in no order that matters.
    pub images: Vec<Record>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The digest of its configuration.
    pub id: Digest,
    /// Its names, with tag or digest.
    pub names: Vec<Reference>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// Bytes of content, unpacked.
    pub size: u64,
    /// Seconds since 1970 of the last pull.
    pub pulled_at: u64,
}

impl Record {
    /// When it was pulled last.
    pub fn pulled_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.pulled_at)
    }
}

impl Images {
    /// Reads the file; none is an empty store.
    ///
    /// # Errors
    /// A file that cannot be read, or that a newer release wrote.
    pub fn load(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    version: VERSION,
                    images: Vec::new(),
                });
            }
            Err(e) => return Err(invalid(path, &e)),
        };
        let images: Self = serde_json::from_slice(&bytes).map_err(|e| invalid(path, &e))?;
        if images.version != VERSION {
            let what = format!(
                "version {}: this release reads version {VERSION}",
                images.version
            );
            return Err(invalid(path, &what));
        }
        Ok(images)
    }

    /// Writes the file durably.
    ///
    /// # Errors
    /// As [`sys::durable::write`].
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        sys::durable::write(path, &bytes, 0o600)
    }

    /// Takes an image in: its names leave the images that had them.
    pub fn insert(&mut self, mut record: Record) {
        for other in &mut self.images {
            other.names.retain(|name| !record.names.contains(name));
        }
        if let Some(at) = self.images.iter().position(|r| r.id == record.id) {
            let old = self.images.swap_remove(at);
            for name in old.names {
                if !record.names.contains(&name) {
                    record.names.push(name);
                }
            }
        }
        record.names.sort();
        self.images.push(record);
    }

    /// Finds an image by reference, id, or a prefix of its id that fits only one.
    pub fn find(&self, name: &str) -> Option<&Record> {
        let reference = name.parse::<Reference>().ok();
        let named = reference.as_ref().and_then(|r| self.named(r));
        named.or_else(|| self.by_id(name))
    }

    /// The image that has exactly this name; a digest also finds the manifest it names.
    pub fn named(&self, name: &Reference) -> Option<&Record> {
        let exact = self.images.iter().find(|r| r.names.contains(name));
        exact.or_else(|| {
            let digest = name.digest()?;
            let pinned = name.with_digest(digest.clone());
            let has = |r: &&Record| {
                r.names.contains(&pinned)
                    || (r.manifest == *digest && r.names.iter().any(|n| n.name() == name.name()))
            };
            self.images.iter().find(has)
        })
    }

    fn by_id(&self, text: &str) -> Option<&Record> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut fitting = self.images.iter().filter(|r| r.id.hex().starts_with(hex));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}

fn invalid(path: &Path, what: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seed: &str, names: &[&str]) -> Record {
        Record {
            id: Digest::of(seed.as_bytes()),
            names: names.iter().map(|n| n.parse().unwrap()).collect(),
            manifest: Digest::of(format!("manifest of {seed}").as_bytes()),
            layers: vec![],
            size: 1,
            pulled_at: 2,
        }
    }

    #[test]
    fn a_name_belongs_to_the_image_that_was_pulled_last() {
        let mut images = Images::default();
        images.insert(record("old", &["redis:7", "redis:old"]));
        images.insert(record("new", &["redis:7"]));
        images.insert(record("new", &["redis:latest"]));
        assert_eq!(images.images.len(), 2);
        assert_eq!(images.find("redis:7").unwrap().id, Digest::of(b"new"));
        assert_eq!(images.find("redis").unwrap().names.len(), 2);
        assert_eq!(
            images.find("docker.io/library/redis:old").unwrap().id,
            Digest::of(b"old")
        );
        assert_eq!(images.find("redis:8"), None);
    }

    #[test]
    fn ids_and_prefixes_that_fit_only_one_find_it() {
        let mut images = Images::default();
        images.insert(record("a", &["a:1"]));
        images.insert(record("b", &[]));
        let id = Digest::of(b"b");
        for text in [
            id.to_string().as_str(),
            id.hex(),
            id.short(),
            &id.hex()[..2],
        ] {
            assert_eq!(images.find(text).map(|r| &r.id), Some(&id), "{text}");
        }
        assert_eq!(images.find(""), None);
        assert_eq!(images.find("zz"), None);
        let manifest = Digest::of(b"manifest of a");
        assert!(images.find(&format!("a@{manifest}")).is_some());
        assert!(images.find(&format!("a:9@{manifest}")).is_some());
        assert!(images.find(&format!("other@{manifest}")).is_none());
    }

    #[test]
    fn it_reads_back_what_it_wrote_and_refuses_what_a_newer_release_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.json");
        let mut images = Images::load(&path).unwrap();
        images.insert(record("a", &["a:1"]));
        images.save(&path).unwrap();
        assert_eq!(Images::load(&path).unwrap(), images);
        std::fs::write(&path, r#"{"version":9,"images":[]}"#).unwrap();
        let error = Images::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("version 9: this release reads version 1"),
            "{error}"
        );
    }
}
