//! `tmpcopyup`: a new tmpfs starts with what its target holds in the image.
//!
//! Only what lies on the target's own file system tree is copied; no link is followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::failure::{Doing, Failure};

/// Directories nested deeper are refused: no image has them, and each holds descriptors open.
const DEEPEST: u32 = 128;

/// Copies what is in the directory `from` into the directory `to`; `shown` is for error messages.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, shown: &str) -> Result<(), Failure> {
    copy_below(from, to, shown, DEEPEST)
}

fn copy_below(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    shown: &str,
    depth: u32,
) -> Result<(), Failure> {
    if depth == 0 {
        return Err(Failure::refused("tmpcopyup", shown, "is nested too deeply"));
    }
    let from = open(from, ".", OFlags::RDONLY | OFlags::DIRECTORY).doing("open", shown)?;
    for entry in Dir::read_from(&from).doing("getdents", shown)? {
        let entry = entry.doing("getdents", shown)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let shown = format!("{shown}/{}", name.to_string_lossy());
        let stat =
            rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).doing("stat", &shown)?;
        copy_one(from.as_fd(), to, name, &stat, &shown, depth)?;
        let (uid, gid) = (
            rustix::process::Uid::from_raw(stat.st_uid),
            rustix::process::Gid::from_raw(stat.st_gid),
        );
        rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .doing("chown", &shown)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            // After the owner: chown takes the set-user-ID bits away.
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::chmodat(to, name, mode, AtFlags::empty()).doing("chmod", &shown)?;
        }
    }
    Ok(())
}

fn copy_one(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
    shown: &str,
    depth: u32,
) -> Result<(), Failure> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let owner = Mode::RUSR | Mode::WUSR | Mode::XUSR;
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, owner).doing("mkdir", shown)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let (below, made) = (open(from, name, flags), open(to, name, flags));
            let (below, made) = (below.doing("open", shown)?, made.doing("open", shown)?);
            copy_below(below.as_fd(), made.as_fd(), shown, depth - 1)
        }
        FileType::RegularFile => {
            let source = open(from, name, OFlags::RDONLY).doing("open", shown)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, owner).doing("open", shown)?;
            let (mut source, mut made) = (std::fs::File::from(source), std::fs::File::from(made));
            std::io::copy(&mut source, &mut made)
                .map(drop)
                .doing("copy", shown)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).doing("readlink", shown)?;
            rustix::fs::symlinkat(target.as_c_str(), to, name).doing("symlink", shown)
        }
        other => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::mknodat(to, name, other, mode, stat.st_rdev).doing("mknod", shown)
        }
    }
}

fn open(at: BorrowedFd<'_>, name: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_directories_links_and_modes_are_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("deep")).unwrap();
        std::fs::write(from.path().join("deep/file"), "text").unwrap();
        std::os::unix::fs::symlink("/nowhere", from.path().join("link")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o4711);
        std::fs::set_permissions(from.path().join("deep/file"), mode).unwrap();
        let fd = |path| rustix::fs::open(path, OFlags::PATH, Mode::empty()).unwrap();
        let (source, target) = (fd(from.path()), fd(to.path()));
        copy(source.as_fd(), target.as_fd(), "/x").unwrap();
        let copied = to.path().join("deep/file");
        assert_eq!(std::fs::read_to_string(&copied).unwrap(), "text");
        let mode = std::fs::metadata(&copied).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o4711);
        let link = std::fs::read_link(to.path().join("link")).unwrap();
        assert_eq!(link.to_str(), Some("/nowhere"));
    }
}
