//! Where things lie in the store, and how a layer's folder comes to be there.
//!
//! A blob or layer that has its final name is whole: names are given by rename after everything was
//! written to the disk. What has no final name lies in `tmp` or `ingest`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::super::digest::{DiffId, Digest};

/// Parts of downloads that nobody came back for are removed after this.
const KEEP_PARTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The store's folders.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    next: AtomicU64,
}

/// `layer.json`, beside a layer's `diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInfo {
    /// Bytes of file content.
    pub size: u64,
    /// The layer hides everything below it.
    pub is_opaque: bool,
}

impl Layout {
    /// Makes the folders and removes what an interrupted program left in `tmp`.
    ///
    /// # Errors
    /// Any error of making, listing or removing, with the path.
    pub fn open(root: &Path) -> io::Result<Self> {
        let layout = Self {
            root: root.to_owned(),
            next: AtomicU64::new(0),
        };
        sys::durable::create_dir_all(root)?;
        set_private(root)?;
        for folder in ["blobs/sha256", "blobs/sha512", "layers", "ingest", "tmp"] {
            sys::durable::create_dir_all(&root.join(folder))?;
        }
        for left in list(&root.join("tmp"))? {
            remove_tree(&left)?;
        }
        for folder in ["", "blobs/sha256", "blobs/sha512"] {
            for file in list(&root.join(folder))? {
                if is_unfinished(&file) {
                    remove_tree(&file)?;
                }
            }
        }
        for part in list(&root.join("ingest"))? {
            let age = part
                .metadata()?
                .modified()
                .ok()
                .and_then(|m| SystemTime::now().duration_since(m).ok());
            if age.is_some_and(|age| age > KEEP_PARTS) {
                remove_tree(&part)?;
            }
        }
        Ok(layout)
    }

    /// The list of images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images.json")
    }

    /// See [`super::reserve`].
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Where a blob lies.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// The folder of a layer, which holds `diff` and `layer.json`.
    pub fn layer(&self, id: &DiffId) -> PathBuf {
        self.root.join("layers").join(id.hex())
    }

    /// A layer's content.
    pub fn diff(&self, id: &DiffId) -> PathBuf {
        self.layer(id).join("diff")
    }

    /// Where a blob is downloaded to.
    pub fn part(&self, digest: &Digest) -> PathBuf {
        self.root.join("ingest").join(digest.hex())
    }

    /// A path in `tmp` that nothing else has.
    pub fn temporary(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.root
            .join("tmp")
            .join(format!("{kind}-{}-{number}", std::process::id()))
    }

    /// What is known of a layer, or `None` if the store does not have it.
    pub fn layer_info(&self, id: &DiffId) -> io::Result<Option<LayerInfo>> {
        let path = self.layer(id).join("layer.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| io::Error::other(format!("{}: {e}", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(named(e, "read", &path)),
        }
    }

    /// Gives an unpacked layer its final name. `made` holds `diff`; nothing of it is lost by a
    /// power cut after this, and before this there is no layer.
    pub fn keep_layer(&self, made: &Path, id: &DiffId, info: &LayerInfo) -> io::Result<()> {
        std::fs::write(made.join("layer.json"), serde_json::to_vec(info)?)?;
        let folder = std::fs::File::open(made)?;
        rustix::fs::syncfs(&folder)?;
        let to = self.layer(id);
        keep(made, &to, sys::durable::rename(made, &to))
    }

    /// Removes a layer: first its name, so that it is never half there.
    pub fn remove_layer(&self, path: &Path) -> io::Result<()> {
        let away = self.temporary("removed");
        match sys::durable::rename(path, &away) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => remove_tree(&away),
        }
    }

    /// All blobs with their paths. A file whose name is no digest is none.
    pub fn blobs(&self) -> io::Result<Vec<(Digest, PathBuf)>> {
        let mut all = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for path in list(&self.root.join("blobs").join(algorithm))? {
                let hex = path.file_name().unwrap_or_default().to_string_lossy();
                if let Ok(digest) = format!("{algorithm}:{hex}").parse() {
                    all.push((digest, path));
                }
            }
        }
        Ok(all)
    }

    /// All layers' folders.
    pub fn layers(&self) -> io::Result<Vec<PathBuf>> {
        list(&self.root.join("layers"))
    }

    /// All downloads that were begun.
    pub fn parts(&self) -> io::Result<Vec<PathBuf>> {
        list(&self.root.join("ingest"))
    }
}

/// What `sys::durable` was writing when the power went.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".new")
}

/// A folder's entries, sorted.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = std::fs::read_dir(folder).map_err(|e| named(e, "list", folder))?;
    let mut paths = listing
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Removes a file or a folder with all it holds; links in it are not followed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
    let removed = if is_folder {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(named(e, "remove", path)),
        _ => Ok(()),
    }
}

/// Layers hold set-id programs of unknown origin: nobody but root may reach them.
fn set_private(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(root, mode).map_err(|e| named(e, "change mode of", root))
}

fn named(e: io::Error, operation: &str, path: &Path) -> io::Error {
    io::Error::new(e.kind(), format!("{operation} {}: {e}", path.display()))
}

/// Judges the rename that gave a layer its name.
fn keep(made: &Path, to: &Path, renamed: io::Result<()>) -> io::Result<()> {
    match renamed {
        // Somebody else was faster with the very same content.
        Err(_) if made.exists() && to.join("layer.json").exists() => remove_tree(made),
        // It has its name, but a power cut may take it: taken back, so that nobody builds on it.
        Err(error) if !made.exists() => {
            std::fs::rename(to, made)?;
            Err(error)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_whose_name_may_not_last_is_not_kept() {
        let root = tempfile::tempdir().unwrap();
        let (made, to) = (root.path().join("made"), root.path().join("layer"));
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join("layer.json"), "{}").unwrap();
        // The rename was done, the flush after it was not.
        let failed = keep(&made, &to, Err(io::Error::other("flush")));
        assert_eq!(failed.unwrap_err().to_string(), "flush");
        assert!(!to.exists() && made.exists());
        // Here another one holds the name.
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join("layer.json"), "{}").unwrap();
        keep(&made, &to, Err(io::Error::other("not empty"))).unwrap();
        assert!(to.exists() && !made.exists());
    }
}
