//! The root file system of an image as a value: sorted entries with mode and content.
//!
//! Owners are always root and times always the source date, so a tree holds neither.

pub mod check;
pub mod cpio;

use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    File(Vec<u8>),
    /// A folder.
    Directory,
    /// A symbolic link and its target.
    Link(String),
    /// A character device.
    Device {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Permission bits, e.g. `0o755`.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

/// Why an entry cannot be put into a tree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// Paths in a tree are absolute and plain.
    #[error("path {0:?}: expected an absolute path without empty, `.` or `..` parts")]
    Path(String),
    /// Two sources for one path.
    #[error("{0} is put into the image twice")]
    Twice(String),
    /// The kernel cannot put anything below it.
    #[error("{0}: a part of its path is no folder")]
    NoFolder(String),
}

/// A root file system: paths without the leading slash, in order; parents come before children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Puts an entry at an absolute path; missing parents become folders of mode 0755.
    ///
    /// # Errors
    /// When the path is not plain, already taken by anything but the same folder, or below what is
    /// no folder.
    pub fn put(&mut self, path: &str, mode: u32, content: Content) -> Result<(), TreeError> {
        let key = key_of(path)?;
        for (at, _) in key.match_indices('/') {
            let parent = self.entries.entry(key[..at].to_owned());
            let parent = parent.or_insert(Entry {
                mode: 0o755,
                content: Content::Directory,
            });
            if parent.content != Content::Directory {
                return Err(TreeError::NoFolder(path.to_owned()));
            }
        }
        let both_folders =
            |old: &Entry| old.content == Content::Directory && content == Content::Directory;
        if self.entries.get(key).is_some_and(|old| !both_folders(old)) {
            return Err(TreeError::Twice(path.to_owned()));
        }
        self.entries.insert(key.to_owned(), Entry { mode, content });
        Ok(())
    }

    /// Puts a file.
    ///
    /// # Errors
    /// As [`Tree::put`].
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) -> Result<(), TreeError> {
        self.put(path, mode, Content::File(bytes))
    }

    /// The entry at an absolute path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.strip_prefix('/')?)
    }

    /// All entries, paths without the leading slash.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// What the kernel makes of this tree when `later` is unpacked over it.
    #[must_use]
    pub fn overlaid(mut self, later: Self) -> Self {
        self.entries.extend(later.entries);
        self
    }
}

fn key_of(path: &str) -> Result<&str, TreeError> {
    let plain = |key: &&str| {
        key.split('/').all(|part| !matches!(part, "" | "." | "..")) && !key.contains('\0')
    };
    path.strip_prefix('/')
        .filter(plain)
        .ok_or_else(|| TreeError::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_below_a_file_or_a_link() {
        let mut tree = Tree::default();
        tree.put("/lib", 0o777, Content::Link("usr/lib".to_owned()))
            .unwrap();
        assert_eq!(
            tree.file("/lib/a", 0o644, vec![]),
            Err(TreeError::NoFolder("/lib/a".to_owned()))
        );
    }

    #[test]
    fn parents_appear_by_themselves_and_come_first() {
        let mut tree = Tree::default();
        tree.file("/usr/lib/a", 0o644, vec![]).unwrap();
        tree.put("/usr/lib", 0o700, Content::Directory).unwrap();
        let all: Vec<_> = tree
            .iter()
            .map(|(path, entry)| (path, entry.mode))
            .collect();
        assert_eq!(
            all,
            [("usr", 0o755), ("usr/lib", 0o700), ("usr/lib/a", 0o644)]
        );
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        for path in ["usr", "/", "/a//b", "/a/../b", "/./a", "/a/"] {
            let error = Tree::default().file(path, 0o644, vec![]).unwrap_err();
            assert_eq!(error, TreeError::Path(path.to_owned()));
        }
    }

    #[test]
    fn nothing_is_overwritten_silently() {
        let mut tree = Tree::default();
        tree.file("/init", 0o755, vec![1]).unwrap();
        let error = tree.file("/init", 0o755, vec![2]).unwrap_err();
        assert_eq!(error, TreeError::Twice("/init".to_owned()));
    }
}
