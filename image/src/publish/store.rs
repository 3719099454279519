//! The ostree repository, through libostree: pieces in, commits out.
//!
//! Signs nothing: libostree's own signatures fail open, and Debian's is built without ed25519.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use ostree::gio::prelude::*;
use ostree::gio::{self, Cancellable};
use ostree::glib::{self, Variant};
use ostree::{MutableTree, ObjectType, Repo, RepoMode, RepoPruneFlags};

use super::PublishError;

const NONE: Option<&Cancellable> = None;

/// A folder of a commit: files by name, in order.
pub struct Folder<'a> {
    /// Its name.
    pub name: String,
    /// Its files.
    pub files: Vec<(String, std::borrow::Cow<'a, [u8]>)>,
}

/// A repository in archive mode.
pub struct Store(Repo);

impl Store {
    /// Opens a repository, or makes one.
    ///
    /// # Errors
    /// When the folder is neither one nor can become one.
    pub fn open(path: &Path) -> Result<Self, PublishError> {
        let named = |source| PublishError::Io {
            path: path.to_owned(),
            source,
        };
        sys::durable::create_dir_all(path).map_err(named)?;
        let folder = File::open(path).map_err(named)?;
        Ok(Self(if path.join("objects").is_dir() {
            Repo::open_at_dir(folder.as_fd(), ".")?
        } else {
            Repo::create_at_dir(folder.as_fd(), ".", RepoMode::Archive, None)?
        }))
    }

    /// Commits folders under a ref. The same content and time give the same commit.
    ///
    /// # Errors
    /// libostree's; then nothing was added.
    pub fn commit(
        &self,
        reference: &str,
        folders: &[Folder],
        time: u64,
    ) -> Result<String, PublishError> {
        let transaction = self.0.auto_transaction(NONE)?;
        let root = MutableTree::new();
        let owner = self
            .0
            .write_metadata(ObjectType::DirMeta, None, &directory(), NONE)?;
        let owner = owner.to_hex();
        root.set_metadata_checksum(&owner);
        for folder in folders {
            let tree = root.ensure_dir(&folder.name)?;
            tree.set_metadata_checksum(&owner);
            for (name, bytes) in &folder.files {
                let mode = 0o100_644;
                let object = self
                    .0
                    .write_regfile_inline(None, 0, 0, mode, None, bytes, NONE)?;
                tree.replace_file(name, &object)?;
            }
        }
        let tree = self.0.write_mtree(&root, NONE)?;
        let tree = tree.downcast_ref::<ostree::RepoFile>().ok_or_else(|| {
            glib::Error::new(
                gio::IOErrorEnum::Failed,
                "the tree is no file of a repository",
            )
        })?;
        let commit =
            self.0
                .write_commit_with_time(None, Some(reference), None, None, tree, time, NONE)?;
        self.0.transaction_set_ref(None, reference, Some(&commit));
        transaction.commit(NONE)?;
        Ok(commit.to_string())
    }

    /// The bytes of all files of a commit's folder, one after the other.
    ///
    /// # Errors
    /// libostree's, e.g. when an object is damaged or not there.
    pub fn contents(&self, commit: &str, folder: &str) -> Result<Vec<u8>, PublishError> {
        let (root, _) = self.0.read_commit(commit, NONE)?;
        let folder = root.child(folder);
        let flags = gio::FileQueryInfoFlags::NOFOLLOW_SYMLINKS;
        let names: Result<BTreeSet<_>, _> = folder
            .enumerate_children("standard::name", flags, NONE)?
            .map(|info| info.map(|info| info.name()))
            .collect();
        let mut bytes = Vec::new();
        for name in names? {
            let child = folder.child(name);
            let Some(file) = child.downcast_ref::<ostree::RepoFile>() else {
                continue;
            };
            let (stream, ..) = self.0.load_file(&file.checksum(), NONE)?;
            while let Some(stream) = &stream {
                let some = stream.read_bytes(1 << 20, NONE)?;
                if some.is_empty() {
                    break;
                }
                bytes.extend_from_slice(&some);
            }
        }
        Ok(bytes)
    }

    /// Rewrites the summary, by rename.
    ///
    /// # Errors
    /// libostree's.
    pub fn summarize(&self) -> Result<(), PublishError> {
        Ok(self.0.regenerate_summary(None, NONE)?)
    }

    /// Drops refs, and every object that no ref needs. Says how many objects went.
    ///
    /// # Errors
    /// libostree's.
    pub fn drop_refs(&self, references: &[String]) -> Result<i32, PublishError> {
        for reference in references {
            self.0.set_ref_immediate(None, reference, None, NONE)?;
        }
        let (_, gone, _) = self.0.prune(RepoPruneFlags::REFS_ONLY, 0, NONE)?;
        Ok(gone)
    }
}

/// Folders belong to root, mode 0755, without attributes: `(uuua(ayay))`, big-endian.
fn directory() -> Variant {
    let attributes: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    (0u32, 0u32, 0o40_755u32.to_be(), attributes).to_variant()
}
