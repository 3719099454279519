//! What a configuration comes to: every file, folder and link of the host that it makes.
//!
//! A value that can be shown, compared and written. What it shows has no content of files that only
//! their owner may read.

use std::collections::BTreeMap;
use std::fmt;

/// By path, each absolute and below `/etc` or `/var`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries; a folder stands before what is in it.
    pub entries: BTreeMap<String, Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file of these bytes.
    File(Vec<u8>),
    /// Bytes at the end of the image's file, or a file of them.
    Appended(Vec<u8>),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Link(String),
    /// Another name of this path.
    HardLink(String),
}

impl Entry {
    /// A file of root's.
    #[must_use]
    pub fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self {
            kind: Kind::File(bytes.into()),
            mode,
            uid: 0,
            gid: 0,
        }
    }
}

impl Tree {
    /// Adds an entry, and the folders above it that are not there, as root's with mode 0755.
    pub fn add(&mut self, path: &str, entry: Entry) {
        self.add_folders_above(path);
        self.entries.insert(path.to_owned(), entry);
    }

    fn add_folders_above(&mut self, path: &str) {
        let Some((parent, _)) = path.rsplit_once('/') else {
            return;
        };
        if parent.matches('/').count() < 2 || self.entries.contains_key(parent) {
            return;
        }
        self.add_folders_above(parent);
        let folder = Entry {
            kind: Kind::Folder,
            mode: 0o755,
            uid: 0,
            gid: 0,
        };
        self.entries.insert(parent.to_owned(), folder);
    }

    /// A file's bytes as text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.entries.get(path)?.kind {
            Kind::File(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// One line an entry: mode, owner, path, what it is.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, entry) in &self.entries {
            let Entry { mode, uid, gid, .. } = entry;
            let secret = mode & 0o044 == 0;
            match &entry.kind {
                Kind::Folder => writeln!(f, "{mode:04o} {uid}:{gid} {path}/")?,
                Kind::Link(target) => writeln!(f, "link {uid}:{gid} {path} -> {target}")?,
                Kind::HardLink(target) => writeln!(f, "hard {path} = {target}")?,
                Kind::File(bytes) => {
                    let shown = content(bytes, secret);
                    writeln!(f, "{mode:04o} {uid}:{gid} {path} {shown}")?;
                }
                Kind::Appended(bytes) => {
                    let shown = content(bytes, secret);
                    writeln!(f, "{mode:04o} {uid}:{gid} {path} += {shown}")?;
                }
            }
        }
        Ok(())
    }
}

fn content(bytes: &[u8], secret: bool) -> String {
    match std::str::from_utf8(bytes) {
        _ if secret => format!("({} bytes)", bytes.len()),
        Ok(text) if text.len() <= 2000 => format!("{text:?}"),
        _ => format!("({} bytes)", bytes.len()),
    }
}
