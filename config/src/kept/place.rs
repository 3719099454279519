//! Entries of a tree onto a file system: each path is opened folder by folder, no link is followed.
//!
//! A file appears by rename or link, whole and with its owner; what is there already stays where the
//! caller says so.

use crate::tree::{Entry, Kind, Tree};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chmodat, chownat, fchmod, fchown,
    linkat, mkdirat, openat, openat2, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The name of a file that is not whole yet.
const UNFINISHED: &str = ".skeg-config.new";

/// Replaces what has the entry's path, below `root`.
///
/// # Errors
/// The first entry that cannot be made, with its path.
pub fn lay_over(root: &Path, tree: &Tree, below: &str) -> io::Result<()> {
    each(
        root,
        tree,
        below,
        |folder, path, name, entry| match &entry.kind {
            Kind::Folder => make_folder(folder, name, entry, true),
            Kind::Appended(bytes) => append(folder, name, bytes, entry),
            _ => {
                make_leaf(folder, UNFINISHED, entry, root)?;
                let renamed = renameat(folder, UNFINISHED, folder, name);
                if renamed != Err(Errno::ISDIR) {
                    return renamed.map_err(Into::into);
                }
                // A folder of an earlier configuration, with what it held.
                std::fs::remove_dir_all(root.join(path.trim_start_matches('/')))?;
                renameat(folder, UNFINISHED, folder, name).map_err(Into::into)
            }
        },
    )
}

/// Makes what is not there yet, and leaves everything else as it is: data.
///
/// # Errors
/// As [`lay_over`].
pub fn put_absent(root: &Path, tree: &Tree, below: &str) -> io::Result<()> {
    each(root, tree, below, |folder, _, name, entry| {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        if entry.kind == Kind::Folder {
            return make_folder(folder, name, entry, false);
        }
        make_leaf(folder, UNFINISHED, entry, root)?;
        renameat(folder, UNFINISHED, folder, name)?;
        rustix::fs::fsync(folder).map_err(Into::into)
    })
}

fn each(
    root: &Path,
    tree: &Tree,
    below: &str,
    mut make: impl FnMut(&OwnedFd, &str, &str, &Entry) -> io::Result<()>,
) -> io::Result<()> {
    let root = openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let ours = tree
        .entries
        .iter()
        .filter(|(path, _)| path.starts_with(below));
    // A hard link comes after the file that it is another name of.
    let (links, rest): (Vec<_>, Vec<_>) =
        ours.partition(|(_, entry)| matches!(entry.kind, Kind::HardLink(_)));
    for (path, entry) in rest.into_iter().chain(links) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let made = folder(&root, parent).and_then(|folder| make(&folder, path, name, entry));
        made.map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))?;
    }
    Ok(())
}

/// Opens a folder below the root for reading; each step must be a folder and no link.
fn folder(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve).map_err(Into::into)
}

fn make_folder(parent: &OwnedFd, name: &str, entry: &Entry, replaces: bool) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) if replaces => {
            let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !FileType::from_raw_mode(there.st_mode).is_dir() {
                unlinkat(parent, name, AtFlags::empty())?;
                mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
            }
        }
        Err(e) => return Err(e.into()),
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    chownat(parent, name, uid(entry), gid(entry), flags)?;
    chmodat(
        parent,
        name,
        Mode::from_raw_mode(entry.mode),
        AtFlags::empty(),
    )
    .map_err(Into::into)
}

/// A file, link or hard link with this name, which nothing had before.
fn make_leaf(folder: &OwnedFd, name: &str, entry: &Entry, root: &Path) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    match &entry.kind {
        Kind::File(bytes) | Kind::Appended(bytes) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(
                folder,
                name,
                flags | OFlags::NOFOLLOW,
                Mode::from_raw_mode(0o600),
            )?;
            let mut file = File::from(file);
            file.write_all(bytes)?;
            fchown(&file, uid(entry), gid(entry))?;
            fchmod(&file, Mode::from_raw_mode(entry.mode))?;
            file.sync_all()
        }
        Kind::Link(target) => {
            symlinkat(target, folder, name)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(folder, name, uid(entry), gid(entry), flags).map_err(Into::into)
        }
        Kind::HardLink(target) => {
            let (parent, file) = target.rsplit_once('/').unwrap_or(("", target));
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, root, flags, Mode::empty())?;
            let parent = self::folder(&root, parent)?;
            linkat(&parent, file, folder, name, AtFlags::empty()).map_err(Into::into)
        }
        Kind::Folder => Ok(()),
    }
}

/// At the end of what is there, as PID 1 does at each boot.
fn append(folder: &OwnedFd, name: &str, bytes: &[u8], entry: &Entry) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file).write_all(bytes),
        Err(Errno::NOENT) => make_leaf(folder, name, entry, Path::new("/")),
        Err(e) => Err(e.into()),
    }
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}
