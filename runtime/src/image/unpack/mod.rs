//! Unpacks one layer's tar stream into a folder that becomes an overlay's lower folder.
//!
//! It runs as root on hostile input. It never follows a link out of the folder, never writes more
//! than its limits allow, and never decides whether the layer is the right one: `layer` does.

mod entries;
mod error;
mod names;
mod pax;
mod tree;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfs};

use entries::{Entries, Entry, Kind};
pub use error::UnpackError;
use names::{Meaning, Name};
use tree::Tree;

/// Bytes between two looks at the free space.
const SPACE_EVERY: u64 = 16 << 20;
/// What an entry counts for, so that inodes are looked at every thousand entries.
const ENTRY: u64 = SPACE_EVERY / 1024;
/// Inodes that must stay free: more than what layers side by side take between two looks.
const RESERVE_INODES: u64 = 4096;
/// What the names of folders may take in memory until their times are set.
const MAX_FOLDER_NAMES: usize = 64 << 20;

/// What one layer may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes out of the decompressor.
    pub uncompressed: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the file system that must stay free.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uncompressed: 32 << 30,
            entries: 2 << 20,
            reserve: 64 << 20,
        }
    }
}

/// What came of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of file content.
    pub size: u64,
    /// The root itself hides all lower layers.
    pub is_opaque: bool,
}

/// Unpacks a tar stream into an empty folder and gives the stream back, read up to the archive's
/// end.
///
/// # Errors
/// See [`UnpackError`]. The folder is then half full and must be thrown away.
pub fn unpack<R: Read>(
    input: R,
    root: &Path,
    limits: &Limits,
) -> Result<(R, Unpacked), UnpackError> {
    let tree = Tree::open(root).map_err(|e| UnpackError::io("open", b".", e))?;
    let mut unpacking = Unpacking {
        tree,
        limits,
        done: Unpacked::default(),
        folders: Vec::new(),
        folder_names: 0,
        until_look: 0,
    };
    let mut entries = Entries::new(input);
    let mut count = 0;
    while let Some(entry) = entries.next()? {
        count += 1;
        if count > limits.entries {
            return Err(UnpackError::TooMany {
                limit: limits.entries,
            });
        }
        unpacking.look_at_space(ENTRY)?;
        unpacking.take(&entry, &mut entries)?;
    }
    let done = unpacking.finish()?;
    Ok((entries.into_inner(), done))
}

struct Unpacking<'a> {
    tree: Tree,
    limits: &'a Limits,
    done: Unpacked,
    /// Folders get their times last, since each new entry changes them.
    folders: Vec<(Vec<u8>, (i64, u32))>,
    folder_names: usize,
    until_look: u64,
}

impl Unpacking<'_> {
    fn take<R: Read>(
        &mut self,
        entry: &Entry,
        content: &mut Entries<R>,
    ) -> Result<(), UnpackError> {
        match names::meaning(&entry.path)? {
            Meaning::Skip => Ok(()),
            Meaning::Whiteout(name) => self.tree.white_out(&name),
            Meaning::Opaque(path) if path == b"." => {
                self.done.is_opaque = true;
                Ok(())
            }
            Meaning::Opaque(path) => tree::set_opaque(&*self.tree.folder(&path)?, &path),
            Meaning::Entry(name) if entry.kind == Kind::Directory => self.folder(&name, entry),
            Meaning::Entry(name) if name.last.is_empty() => {
                Err(UnpackError::entry(&entry.path, "the root must be a folder"))
            }
            Meaning::Entry(name) if entry.kind == Kind::HardLink => self.hard_link(&name, entry),
            Meaning::Entry(name) => {
                let parent = self.tree.folder(&name.parent)?;
                self.tree.make_way(&parent, &name)?;
                match entry.kind {
                    Kind::File => self.file(&parent, &name, entry, content),
                    Kind::Symlink => symlink(&parent, &name, entry),
                    _ => node(&parent, &name, entry),
                }
            }
        }
    }

    fn folder(&mut self, name: &Name, entry: &Entry) -> Result<(), UnpackError> {
        let fd = self.tree.make_folder(name)?;
        tree::set_metadata(&fd, entry)?;
        let path = name.path();
        self.folder_names += path.len() + 64;
        if self.folder_names > MAX_FOLDER_NAMES {
            return Err(UnpackError::entry(
                &entry.path,
                "too many folders in one layer",
            ));
        }
        self.folders.push((path, entry.mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &Name,
        entry: &Entry,
        content: &mut Entries<R>,
    ) -> Result<(), UnpackError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, &*name.last, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| UnpackError::io("create", &entry.path, e))?;
        let mut file = File::from(fd);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = content.read_content(&mut buffer)?;
            if n == 0 {
                break;
            }
            self.look_at_space(n as u64)?;
            file.write_all(&buffer[..n])
                .map_err(|e| UnpackError::io("write", &entry.path, e))?;
            self.done.size += n as u64;
        }
        let fd = OwnedFd::from(file);
        tree::set_metadata(&fd, entry)?;
        tree::set_time(&fd, entry.mtime, &entry.path)
    }

    /// A second name for a file of this layer. A link at the end is linked, never followed.
    fn hard_link(&mut self, name: &Name, entry: &Entry) -> Result<(), UnpackError> {
        let target = Name::parse(&entry.link)?;
        if target == *name {
            return Ok(());
        }
        let missing = || {
            let target = String::from_utf8_lossy(&entry.link).into_owned();
            UnpackError::entry(
                &entry.path,
                format!("hard link to `{target}`: no such file here"),
            )
        };
        let from = self.tree.existing(&target.parent)?.ok_or_else(missing)?;
        let stat = tree::stat(&from, &target.last, &entry.link)?.ok_or_else(missing)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(UnpackError::entry(&entry.path, "hard link to a folder"));
        }
        let to = self.tree.folder(&name.parent)?;
        if let Some(own) = tree::stat(&to, &name.last, &entry.path)?
            && (own.st_dev, own.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        self.tree.make_way(&to, name)?;
        rustix::fs::linkat(&from, &*target.last, &*to, &*name.last, AtFlags::empty())
            .map_err(|e| UnpackError::io("hard link", &entry.path, e))
    }

    fn look_at_space(&mut self, bytes: u64) -> Result<(), UnpackError> {
        if let Some(left) = self.until_look.checked_sub(bytes) {
            self.until_look = left;
            return Ok(());
        }
        self.until_look = SPACE_EVERY;
        let stat = rustix::fs::fstatvfs(self.tree.root())
            .map_err(|e| UnpackError::io("look at free space of", b".", e))?;
        enough(&stat, bytes, self.limits.reserve)
    }

    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        while let Some((path, mtime)) = self.folders.pop() {
            if let Some(fd) = self.tree.existing(&path)? {
                tree::set_time(&fd, mtime, &path)?;
            }
        }
        Ok(self.done)
    }
}

/// Whether bytes and inodes are left for the host itself.
fn enough(stat: &StatVfs, bytes: u64, reserve: u64) -> Result<(), UnpackError> {
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    // Bytes not yet looked at may be on their way.
    if free < reserve.saturating_add(bytes) {
        return Err(UnpackError::NoSpace { free, reserve });
    }
    // File systems that make inodes as needed have none in number.
    if stat.f_files > 0 && stat.f_favail < RESERVE_INODES {
        return Err(UnpackError::NoInodes {
            free: stat.f_favail,
            reserve: RESERVE_INODES,
        });
    }
    Ok(())
}

fn symlink(parent: &OwnedFd, name: &Name, entry: &Entry) -> Result<(), UnpackError> {
    rustix::fs::symlinkat(&*entry.link, parent, &*name.last)
        .map_err(|e| UnpackError::io("create symbolic link", &entry.path, e))?;
    tree::set_node_metadata(parent, &name.last, entry, true)
}

fn node(parent: &OwnedFd, name: &Name, entry: &Entry) -> Result<(), UnpackError> {
    let kind = match entry.kind {
        Kind::Block => FileType::BlockDevice,
        Kind::Char => FileType::CharacterDevice,
        _ => FileType::Fifo,
    };
    let device = rustix::fs::makedev(entry.device.0, entry.device.1);
    let mode = Mode::from_raw_mode(entry.mode & 0o777);
    rustix::fs::mknodat(parent, &*name.last, kind, mode, device)
        .map_err(|e| UnpackError::io("create device or pipe", &entry.path, e))?;
    tree::set_node_metadata(parent, &name.last, entry, false)
}

#[cfg(test)]
mod tests;
