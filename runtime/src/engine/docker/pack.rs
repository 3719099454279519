//! A tree as a tar archive, written while it is walked by descriptors.
//!
//! It follows no link, and leaves sockets out. What vanishes while it is read is left out too.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, openat, readlinkat, statat};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Folders in folders.
const DEEPEST: usize = 256;

/// Writes into a channel, for a client that reads in its own time.
pub struct Channel {
    to: mpsc::Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Channel {
    /// An empty one.
    pub fn new(to: mpsc::Sender<io::Result<Vec<u8>>>) -> Self {
        Self {
            to,
            piece: Vec::new(),
        }
    }

    /// Ends what the client reads with an error, not as if it were whole.
    pub fn fail(&mut self, e: &io::Error) {
        self.piece.clear();
        let error = io::Error::new(e.kind(), e.to_string());
        let _ = self.to.blocking_send(Err(error));
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.to.blocking_send(Ok(piece)).map_err(gone)
    }
}

/// Packs `name` of `folder`, and all that is below it, as `called`; an empty one is the root itself.
///
/// # Errors
/// What the file system says, or that nobody reads any more.
pub fn pack(folder: &OwnedFd, name: &str, called: &str, to: &mut impl Write) -> io::Result<()> {
    let mut builder = Builder::new(to);
    let called = called.trim_end_matches('/').as_bytes();
    one(&mut builder, folder.as_fd(), OsStr::new(name), called, 0)?;
    builder.into_inner()?.flush()
}

fn one<W: Write>(
    to: &mut Builder<W>,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    called: &[u8],
    depth: usize,
) -> io::Result<()> {
    let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) if depth > 0 => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let mut header = header(&stat);
    let kind = match stat.st_mode & 0o170_000 {
        0o040_000 => EntryType::Directory,
        0o100_000 => EntryType::Regular,
        0o120_000 => EntryType::Symlink,
        0o020_000 => EntryType::Char,
        0o060_000 => EntryType::Block,
        0o010_000 => EntryType::Fifo,
        _ => return Ok(()),
    };
    header.set_entry_type(kind);
    let mut path = called.to_vec();
    match kind {
        EntryType::Directory => {
            if depth > DEEPEST {
                return Err(io::Error::other("folders lie too deep in each other"));
            }
            if !path.is_empty() {
                path.push(b'/');
                to.append_data(&mut header, path_of(&path), io::empty())?;
            }
            below(to, folder, name, &path, depth)
        }
        EntryType::Regular => file(to, folder, name, header, &path, depth),
        EntryType::Symlink => {
            let target = readlinkat(folder, name, Vec::new())?;
            let target = OsStr::from_bytes(target.to_bytes());
            to.append_link(&mut header, path_of(&path), target)
        }
        _ => {
            header.set_device_major(rustix::fs::major(stat.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
            to.append_data(&mut header, path_of(&path), io::empty())
        }
    }
}

fn path_of(bytes: &[u8]) -> &std::path::Path {
    std::path::Path::new(OsStr::from_bytes(bytes))
}

fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

fn below<W: Write>(
    to: &mut Builder<W>,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    path: &[u8],
    depth: usize,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort();
    for name in names {
        let called = [path, &name].concat();
        one(
            to,
            opened.as_fd(),
            OsStr::from_bytes(&name),
            &called,
            depth + 1,
        )?;
    }
    Ok(())
}

/// A file that grows or shrinks while it is read has the length that it had at first.
fn file<W: Write>(
    to: &mut Builder<W>,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    mut header: Header,
    path: &[u8],
    depth: usize,
) -> io::Result<()> {
    // A pipe that took its place must not make the reader wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT) if depth > 0 => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(());
    }
    header.set_size(meta.len());
    let filled = file.take(meta.len()).chain(io::repeat(0)).take(meta.len());
    to.append_data(&mut header, path_of(path), filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_packed_without_following_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a");
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::write(root.join("b/f"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("l")).unwrap();
        let fd: OwnedFd = File::open(folder.path()).unwrap().into();
        let mut bytes = Vec::new();
        pack(&fd, "a", "x", &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|e| {
            let e = e.unwrap();
            let kind = e.header().entry_type();
            (e.path().unwrap().display().to_string(), kind, e.size())
        });
        let wanted = [
            ("x/".to_owned(), EntryType::Directory, 0),
            ("x/b/".to_owned(), EntryType::Directory, 0),
            ("x/b/f".to_owned(), EntryType::Regular, 5),
            ("x/l".to_owned(), EntryType::Symlink, 0),
        ];
        assert_eq!(entries.collect::<Vec<_>>(), wanted);
    }
}
