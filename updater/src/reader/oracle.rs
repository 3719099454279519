//! The second reader, by libostree: what it refuses, ours must refuse, and where it reads, ours must
//! read the same.
//!
//! For tests: it needs a folder, a C library and its trust in what it parses. Never on a host.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use formats::digest::{Hex, Sha256};
use formats::repository;
use ostree::gio::Cancellable;
use ostree::gio::prelude::*;
use ostree::glib::Variant;
use ostree::{ObjectType, Repo};

use super::{Archive, Entry, ReadError};
use crate::fetch::Counted;

const NONE: Option<&Cancellable> = None;

/// A repository in a folder, read by libostree.
pub struct Oracle(Repo);

impl Oracle {
    /// Opens a repository.
    ///
    /// # Errors
    /// What libostree says.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let place = folder.display().to_string();
        let file = File::open(folder).map_err(|e| said(&place, &e))?;
        let repo = Repo::open_at_dir(file.as_fd(), ".");
        Ok(Self(repo.map_err(|e| said(&place, &e))?))
    }

    fn metadata(&self, kind: ObjectType, object: &Sha256) -> Result<Variant, ReadError> {
        let name = object.to_string();
        let checked = self.0.fsck_object(kind, &name, NONE);
        let loaded = checked.and_then(|()| self.0.load_variant(kind, &name));
        loaded.map_err(|e| said(&name, &e))
    }

    fn tree(&self, object: &Sha256, member: usize) -> Result<Vec<Entry>, ReadError> {
        let tree = self.metadata(ObjectType::DirTree, object)?;
        let entry = |entry: Variant| Entry {
            name: entry.child_value(0).str().unwrap_or_default().to_owned(),
            object: checksum(&entry.child_value(1)),
        };
        Ok(tree.child_value(member).iter().map(entry).collect())
    }
}

impl Archive for Oracle {
    async fn folders(&mut self, commit: &Sha256) -> Result<Vec<Entry>, ReadError> {
        let commit = self.metadata(ObjectType::Commit, commit)?;
        self.tree(&checksum(&commit.child_value(6)), 1)
    }

    async fn files(&mut self, folder: &Sha256) -> Result<Vec<Entry>, ReadError> {
        self.tree(folder, 0)
    }

    async fn content(&mut self, object: &Sha256, length: u64) -> Result<Vec<u8>, ReadError> {
        let name = object.to_string();
        let read = || {
            self.0.fsck_object(ObjectType::File, &name, NONE)?;
            let (stream, ..) = self.0.load_file(&name, NONE)?;
            let mut bytes = Vec::new();
            while let Some(stream) = &stream {
                let some = stream.read_bytes(1 << 16, NONE)?;
                if some.is_empty() || bytes.len() as u64 > length {
                    break;
                }
                bytes.extend_from_slice(&some);
            }
            Ok(bytes)
        };
        let bytes = read().map_err(|e: ostree::glib::Error| said(&name, &e))?;
        if bytes.len() as u64 != length {
            return Err(ReadError::Length {
                object: repository::object(object, "filez"),
                expected: length,
                found: bytes.len() as u64,
            });
        }
        Ok(bytes)
    }

    fn asked(&self) -> Counted {
        Counted::default()
    }
}

fn checksum(bytes: &Variant) -> Sha256 {
    Hex(bytes.data().try_into().unwrap_or_default())
}

fn said(object: &str, error: &dyn std::fmt::Display) -> ReadError {
    ReadError::Library {
        object: object.to_owned(),
        message: error.to_string(),
    }
}
