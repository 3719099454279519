//! The folder that a layer is unpacked into: every operation relative to a descriptor.
//!
//! It never follows a link out of the root. Parents are opened by `openat2`, first without any
//! link, then with links resolved as if the root were `/`; last parts are never followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;

use super::entries::Entry;
use super::error::UnpackError;
use super::names::{MAX_DEPTH, Name};

/// Marks a folder that hides lower layers' content.
const OPAQUE: &str = "trusted.overlay.opaque";
const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

/// The root of the layer in the making, and the parent that was opened last.
pub struct Tree {
    root: Rc<OwnedFd>,
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

impl Tree {
    /// Opens an empty folder as a layer's root.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(root, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self {
            root: Rc::new(root),
            last: None,
        })
    }

    /// The root's descriptor.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The folder at `path`, made with its parents where they are missing.
    ///
    /// # Errors
    /// When something that is no folder is in the way.
    pub fn folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some((known, fd)) = &self.last
            && known == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.open_folder(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_folders(path)?,
            Err(e) => return Err(UnpackError::io("open folder", path, e)),
        };
        let fd = Rc::new(fd);
        self.last = Some((path.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// A folder that must exist; `None` if it does not.
    ///
    /// # Errors
    /// As `openat2(2)`, other than that the folder is missing.
    pub fn existing(&self, path: &[u8]) -> Result<Option<OwnedFd>, UnpackError> {
        match self.open_folder(path) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(UnpackError::io("open folder", path, e)),
        }
    }

    /// Makes or keeps the folder `name` and returns its descriptor.
    ///
    /// # Errors
    /// As `mkdir(2)`, with the name.
    pub fn make_folder(&mut self, name: &Name) -> Result<Rc<OwnedFd>, UnpackError> {
        if name.last.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        let parent = self.folder(&name.parent)?;
        let fd = self.folder_in(&parent, &name.last, &name.path(), false)?;
        Ok(Rc::new(fd))
    }

    /// Makes way for a new entry that is no folder: whatever has its name goes.
    ///
    /// # Errors
    /// As `unlink(2)`, with the name.
    pub fn make_way(&mut self, parent: &OwnedFd, name: &Name) -> Result<(), UnpackError> {
        let Some(stat) = stat(parent, &name.last, &name.path())? else {
            return Ok(());
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return unlink(parent, &name.last, &name.path());
        }
        self.last = None;
        let parent = format!("/proc/self/fd/{}", parent.as_raw_fd());
        let place = Path::new(&parent).join(OsStr::from_bytes(&name.last));
        std::fs::remove_dir_all(place).map_err(|e| UnpackError::io("replace", &name.path(), e))
    }

    /// Hides `name` of the lower layers, unless this layer has its own.
    ///
    /// # Errors
    /// As `mknod(2)`, with the name.
    pub fn white_out(&mut self, name: &Name) -> Result<(), UnpackError> {
        let parent = self.folder(&name.parent)?;
        match stat(&parent, &name.last, &name.path())? {
            None => make_whiteout(&parent, &name.last, &name.path()),
            Some(s) if FileType::from_raw_mode(s.st_mode) == FileType::Directory => {
                // Removed below and made again here: lower content must not shine through.
                set_opaque(&*self.make_folder(name)?, &name.path())
            }
            Some(_) => Ok(()),
        }
    }

    fn open_folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let open = |resolve| rustix::fs::openat2(&self.root, path, FOLDER, Mode::empty(), resolve);
        let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match open(strict) {
            Err(Errno::LOOP) => {}
            done => return done,
        }
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let fd = open(inside)?;
        match self.depth(&fd) {
            Some(depth) if depth < MAX_DEPTH => Ok(fd),
            _ => Err(Errno::NAMETOOLONG),
        }
    }

    /// How deep below the root a descriptor really is; links may have led anywhere inside.
    fn depth(&self, fd: &OwnedFd) -> Option<usize> {
        let real = |fd: &OwnedFd| -> Option<PathBuf> {
            std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
        };
        let (root, folder) = (real(&self.root)?, real(fd)?);
        Some(folder.strip_prefix(&root).ok()?.components().count())
    }

    fn make_folders(&mut self, path: &[u8]) -> Result<OwnedFd, UnpackError> {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(i, _)| i);
        let mut parent = b".".to_vec();
        for end in ends.chain([path.len()]).collect::<Vec<_>>() {
            let prefix = &path[..end];
            match self.open_folder(prefix) {
                Ok(_) => {}
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    let missing = |e| UnpackError::io("open folder", prefix, e);
                    let above = self.open_folder(&parent).map_err(missing)?;
                    let start = prefix.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
                    let fd = self.folder_in(&above, &prefix[start..], prefix, true)?;
                    let root = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
                    rustix::fs::fchown(&fd, Some(root.0), Some(root.1))
                        .map_err(|e| UnpackError::io("change owner of", prefix, e))?;
                    set_mode(&fd, 0o755, prefix)?;
                }
                Err(e) => return Err(UnpackError::io("open folder", prefix, e)),
            }
            parent = prefix.to_vec();
        }
        self.open_folder(path)
            .map_err(|e| UnpackError::io("open folder", path, e))
    }

    /// Makes one folder. A whiteout in its place turns it into an opaque one. A file or link goes
    /// if the archive has an entry for the folder, but not for a parent that is only implied.
    fn folder_in(
        &mut self,
        parent: &OwnedFd,
        last: &[u8],
        path: &[u8],
        is_implied: bool,
    ) -> Result<OwnedFd, UnpackError> {
        let mut opaque = false;
        if let Some(stat) = stat(parent, last, path)?
            && FileType::from_raw_mode(stat.st_mode) != FileType::Directory
        {
            opaque = is_whiteout(&stat);
            if is_implied && !opaque {
                let what = "is in the way: a file, or a link that leads nowhere in this layer";
                return Err(UnpackError::entry(path, what));
            }
            self.last = None;
            unlink(parent, last, path)?;
        }
        match rustix::fs::mkdirat(parent, last, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(UnpackError::io("create folder", path, e)),
        }
        let fd = rustix::fs::openat(parent, last, FOLDER | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|e| UnpackError::io("open folder", path, e))?;
        if opaque {
            set_opaque(&fd, path)?;
        }
        Ok(fd)
    }
}

/// What has the name, links not followed.
pub fn stat(parent: &OwnedFd, last: &[u8], path: &[u8]) -> Result<Option<Stat>, UnpackError> {
    match rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(UnpackError::io("look at", path, e)),
    }
}

/// Marks a folder as hiding lower layers' content.
pub fn set_opaque(folder: &OwnedFd, path: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty())
        .map_err(|e| UnpackError::io("mark as opaque", path, e))
}

/// Owner, then mode, then attributes: a change of owner clears set-id bits and capabilities.
pub fn set_metadata(fd: &OwnedFd, entry: &Entry) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    rustix::fs::fchown(fd, Some(uid), Some(gid))
        .map_err(|e| UnpackError::io("change owner of", &entry.path, e))?;
    set_mode(fd, entry.mode, &entry.path)?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_allowed(name)) {
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            // tmpfs has no user attributes on older kernels; nothing depends on them.
            Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
            Err(e) => return Err(UnpackError::io("set attribute of", &entry.path, e)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Owner and times of a link, device or pipe, and the mode of the latter two.
pub fn set_node_metadata(
    parent: &OwnedFd,
    last: &[u8],
    entry: &Entry,
    is_link: bool,
) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(
        parent,
        last,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|e| UnpackError::io("change owner of", &entry.path, e))?;
    if !is_link {
        rustix::fs::chmodat(
            parent,
            last,
            Mode::from_raw_mode(entry.mode),
            AtFlags::empty(),
        )
        .map_err(|e| UnpackError::io("change mode of", &entry.path, e))?;
    }
    rustix::fs::utimensat(parent, last, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| UnpackError::io("set time of", &entry.path, e))
}

/// Sets the time of something open.
pub fn set_time(fd: &OwnedFd, mtime: (i64, u32), path: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::futimens(fd, &times(mtime)).map_err(|e| UnpackError::io("set time of", path, e))
}

fn set_mode(fd: &OwnedFd, mode: u32, path: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))
        .map_err(|e| UnpackError::io("change mode of", path, e))
}

fn make_whiteout(parent: &OwnedFd, last: &[u8], path: &[u8]) -> Result<(), UnpackError> {
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(parent, last, kind, Mode::empty(), rustix::fs::makedev(0, 0))
        .map_err(|e| UnpackError::io("create whiteout", path, e))
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn unlink(parent: &OwnedFd, last: &[u8], path: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::unlinkat(parent, last, AtFlags::empty())
        .map_err(|e| UnpackError::io("replace", path, e))
}

/// What a layer may set. `trusted.*` would steer the overlay itself, `security.*` other than
/// capabilities belongs to the host's policy.
fn is_allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn owner(entry: &Entry) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (
        rustix::fs::Uid::from_raw(entry.uid),
        rustix::fs::Gid::from_raw(entry.gid),
    )
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanos),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
