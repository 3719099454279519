//! A repository: the pieces that a commit holds, and their contents.
//!
//! A trait, since there are two readers: ours, and libostree as the tests' oracle.

use std::future::Future;

use formats::digest::{Hex, Sha256};
use formats::repository;
use sha2::Digest;

use super::{ReadError, file, tree};
use crate::fetch::{Counted, Source};

/// Bytes that a commit or a folder may have: the largest is a folder of all pieces.
const MAX_METADATA: u64 = 4 << 20;

/// A file or folder of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its object.
    pub object: Sha256,
}

/// A repository in archive mode.
pub trait Archive {
    /// The folders at the root of a commit.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn folders(&mut self, commit: &Sha256) -> impl Future<Output = Result<Vec<Entry>, ReadError>>;

    /// The files in a folder.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn files(&mut self, folder: &Sha256) -> impl Future<Output = Result<Vec<Entry>, ReadError>>;

    /// The content of a file, which must have `length` bytes.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn content(
        &mut self,
        object: &Sha256,
        length: u64,
    ) -> impl Future<Output = Result<Vec<u8>, ReadError>>;

    /// What was asked of the source so far.
    fn asked(&self) -> Counted;
}

/// Our reader.
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
}

impl<S: Source> Reader<S> {
    /// Reads what this source has.
    pub const fn new(source: S) -> Self {
        Self { source }
    }

    /// A commit or folder, checked; from elsewhere where it is damaged.
    async fn metadata(&mut self, object: &Sha256, kind: &str) -> Result<Vec<u8>, ReadError> {
        loop {
            match self.metadata_once(object, kind).await {
                Err(error) if error.is_content() && self.source.elsewhere() => {}
                result => return result,
            }
        }
    }

    async fn metadata_once(&mut self, object: &Sha256, kind: &str) -> Result<Vec<u8>, ReadError> {
        let path = repository::object(object, kind);
        let bytes = self.source.get(&path, MAX_METADATA).await?;
        let bytes = bytes.ok_or_else(|| ReadError::Missing {
            object: path.clone(),
        })?;
        is_whole(&path, object, Hex(sha2::Sha256::digest(&bytes).into()))?;
        Ok(bytes)
    }

    async fn content_once(&mut self, object: &Sha256, length: u64) -> Result<Vec<u8>, ReadError> {
        let path = repository::object(object, "filez");
        let stored = self.source.get(&path, file::stored_limit(length)).await?;
        let stored = stored.ok_or_else(|| ReadError::Missing {
            object: path.clone(),
        })?;
        let content = file::content(&stored, length).map_err(|refused| match refused {
            file::Refused::Malformed(expected) => ReadError::Malformed {
                object: path.clone(),
                expected,
            },
            file::Refused::NotPlain => ReadError::NotPlain {
                object: path.clone(),
            },
            file::Refused::Length(found) => ReadError::Length {
                object: path.clone(),
                expected: length,
                found,
            },
        })?;
        is_whole(&path, object, file::checksum(&content))?;
        Ok(content)
    }

    async fn tree(&mut self, object: &Sha256) -> Result<tree::Folder, ReadError> {
        let bytes = self.metadata(object, "dirtree").await?;
        tree::folder(&bytes).ok_or_else(|| ReadError::Malformed {
            object: repository::object(object, "dirtree"),
            expected: "a folder: (a(say)a(sayay)), names in order",
        })
    }
}

impl<S: Source> Archive for Reader<S> {
    async fn folders(&mut self, commit: &Sha256) -> Result<Vec<Entry>, ReadError> {
        let bytes = self.metadata(commit, "commit").await?;
        let root = tree::root_of(&bytes).ok_or_else(|| ReadError::Malformed {
            object: repository::object(commit, "commit"),
            expected: "a commit: (a{sv}aya(say)sstayay)",
        })?;
        Ok(entries(self.tree(&root).await?.folders))
    }

    async fn files(&mut self, folder: &Sha256) -> Result<Vec<Entry>, ReadError> {
        Ok(entries(self.tree(folder).await?.files))
    }

    async fn content(&mut self, object: &Sha256, length: u64) -> Result<Vec<u8>, ReadError> {
        loop {
            match self.content_once(object, length).await {
                Err(error) if error.is_content() && self.source.elsewhere() => {}
                result => return result,
            }
        }
    }

    fn asked(&self) -> Counted {
        self.source.asked()
    }
}

fn entries(list: Vec<(String, Sha256)>) -> Vec<Entry> {
    let entry = |(name, object)| Entry { name, object };
    list.into_iter().map(entry).collect()
}

fn is_whole(path: &str, expected: &Sha256, found: Sha256) -> Result<(), ReadError> {
    if *expected == found {
        return Ok(());
    }
    Err(ReadError::Checksum {
        object: path.to_owned(),
        found: found.to_string(),
    })
}
