//! The root: overlay or directory, paths opened inside it, and the pivot into it.
//!
//! No path of a container is ever resolved outside its root, nor through a magic link of procfs.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, open_tree,
};
use sys::mount_attr::{MountAttr, mount_setattr};

use super::failure::{Doing, Failure};
use super::mount_options::Propagation;
use super::mounts;
use super::mutant::{Defence, lacks};

/// What a mount's target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Longest value that fsconfig(2) takes, less its NUL.
const FSCONFIG_MAX: usize = 255;

/// Dangling symlinks that are followed on the way to a target that is made.
const MAX_LINKS: u32 = 10;

/// statfs(2) `f_type` of procfs.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Files of procfs that lxcfs and its like may cover.
const PROC_FILES: [&str; 7] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// Opens `path` inside `root`: symlinks stay inside, magic links are refused.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: impl AsRef<Path>,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    open_resolved(
        root,
        path.as_ref(),
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn open_resolved(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    if lacks(Defence::InRoot) {
        let root = std::os::fd::AsRawFd::as_raw_fd(&root);
        let path = path.strip_prefix("/").unwrap_or(path).display();
        let path = format!("/proc/self/fd/{root}/{path}");
        return rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    }
    // EAGAIN: something was renamed below the root meanwhile (openat2(2)).
    for _ in 0..128 {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory of `path` inside `root`, made with its parents when missing, and says what
/// the last component is.
pub(crate) fn make_parent(root: BorrowedFd<'_>, path: &str) -> Result<(OwnedFd, PathBuf), Failure> {
    let clean = normalized(path);
    let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else {
        return Err(Failure::refused(
            "open",
            path,
            "the root itself is no target",
        ));
    };
    let directory = make_directories(root, parent, path, MAX_LINKS)?;
    Ok((directory, PathBuf::from(name)))
}

/// Opens `path` inside `root` (`O_PATH`), made as `kind` when missing.
pub(crate) fn make_target(
    root: BorrowedFd<'_>,
    path: &str,
    kind: Kind,
) -> Result<OwnedFd, Failure> {
    if kind == Kind::Directory {
        return make_directories(root, &normalized(path), path, MAX_LINKS);
    }
    let clean = Path::new("/").join(normalized(path));
    match open_in_root(root, &clean, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        done => return done.doing("openat2", path),
    }
    let (parent, name) = make_parent(root, path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let mode = Mode::from_raw_mode(0o644);
    match rustix::fs::openat(&parent, &name, flags, mode) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(Failure::kernel("open", path, error)),
    }
    open_in_root(root, &clean, OFlags::PATH).doing("openat2", path)
}

/// Opens `path` as a directory that is reached through no symlink, made when missing.
pub(crate) fn make_real_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    make_directories(root, &normalized(path), path, MAX_LINKS)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    open_resolved(root, Path::new(path), flags, resolve).map_err(|error| match error {
        Errno::LOOP => Failure::refused("openat2", path, "is a symlink in the image"),
        other => Failure::kernel("openat2", path, other),
    })
}

/// Opens the directory, made with its parents when missing. `links`: how many dangling symlinks may
/// still be met on the way; what such a one points to is made, inside the root.
fn make_directories(
    root: BorrowedFd<'_>,
    clean: &Path,
    shown: &str,
    links: u32,
) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    if let Ok(found) = open_in_root(root, Path::new("/").join(clean), flags) {
        return Ok(found);
    }
    let mut prefix = PathBuf::from("/");
    let mut at = open_in_root(root, &prefix, flags).doing("openat2", shown)?;
    for name in clean.components() {
        prefix.push(name);
        let mut next = open_in_root(root, &prefix, flags);
        if next.as_ref().err() == Some(&Errno::NOENT) {
            match rustix::fs::mkdirat(&at, name.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) if links > 0 => {
                    let target = link_target(&at, name.as_os_str(), &prefix);
                    let target = target.doing("readlink", shown)?;
                    make_directories(root, &target, shown, links - 1)?;
                }
                Err(error) => return Err(Failure::kernel("mkdir", shown, error)),
            }
            next = open_in_root(root, &prefix, flags);
        }
        at = next.doing("openat2", shown)?;
    }
    Ok(at)
}

/// Where the symlink `name` in the directory `at` points to, seen from the root.
fn link_target(at: &OwnedFd, name: &OsStr, path: &Path) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlinkat(at, name, Vec::new())?;
    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
    let target = path.parent().unwrap_or(Path::new("/")).join(target);
    Ok(normalized(&target.to_string_lossy()))
}

/// The path without root, `.` and `..`: `..` takes one component away, textually.
pub(crate) fn normalized(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// Refuses to cover a part of procfs, which would mislead whoever trusts what stands there.
pub(crate) fn refuse_procfs(target: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    if is_procfs(target, path)? && !PROC_FILES.contains(&path) {
        let reason = "a mount over a part of procfs is refused";
        return Err(Failure::refused("move_mount", path, reason));
    }
    Ok(())
}

/// Whether `fd` is on procfs.
pub(crate) fn is_procfs(fd: BorrowedFd<'_>, path: &str) -> Result<bool, Failure> {
    let statfs = rustix::fs::fstatfs(fd).doing("fstatfs", path)?;
    Ok(statfs.f_type == PROC_SUPER_MAGIC)
}

/// Sets how the inherited mounts propagate.
pub(crate) fn set_root_propagation(propagation: Propagation) -> Result<(), Failure> {
    let flags = MountPropagationFlags::from_bits_retain(
        u32::try_from(propagation.bits()).unwrap_or_default(),
    );
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC).doing("mount", "/")
}

/// Binds the host's directory onto itself and opens it as the root.
pub(crate) fn bind_root(source: &str) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags).doing("open_tree", source)?;
    place_root(tree, source)
}

/// Mounts the overlay at `at` and opens it as the root.
pub(crate) fn overlay_root(
    lower: &[String],
    upper: &str,
    work: &str,
    at: &str,
) -> Result<OwnedFd, Failure> {
    match overlay_by_fsconfig(lower, upper, work) {
        Ok(mount) => place_root(mount, at),
        // Before 6.5 the kernel knows no `lowerdir+`.
        Err(failure) if failure.errno == Errno::INVAL.raw_os_error() => {
            overlay_by_mount(lower, upper, work, at)
        }
        Err(failure) => Err(failure),
    }
}

fn overlay_by_fsconfig(lower: &[String], upper: &str, work: &str) -> Result<OwnedFd, Failure> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing("fsopen", "overlay")?;
    fsconfig_set_string(context.as_fd(), "source", "overlay").doing("fsconfig", "source")?;
    let layers = lower.iter().map(|path| ("lowerdir+", path.as_str()));
    for (key, path) in layers.chain([("upperdir", upper), ("workdir", work)]) {
        let set = |value: &str| {
            fsconfig_set_string(context.as_fd(), key, value)
                .doing(&format!("fsconfig overlay {key}"), path)
        };
        if path.len() <= FSCONFIG_MAX {
            set(path)?;
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty()).doing("open", path)?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
            set(&format!("/proc/self/fd/{number}"))?;
        }
    }
    fsconfig_create(context.as_fd()).doing("fsconfig create overlay", upper)?;
    let attributes = MountAttrFlags::empty();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing("fsmount", "overlay")
}

fn overlay_by_mount(
    lower: &[String],
    upper: &str,
    work: &str,
    at: &str,
) -> Result<OwnedFd, Failure> {
    let escaped = |path: &str| path.replace('\\', "\\\\").replace(',', "\\,");
    let lower: Vec<String> = lower
        .iter()
        .map(|path| escaped(path).replace(':', "\\:"))
        .collect();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        escaped(upper),
        escaped(work)
    );
    let data = std::ffi::CString::new(data)
        .map_err(|_| Failure::refused("mount overlay", at, "a path holds a NUL"))?;
    rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .doing("mount overlay", at)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(at, flags, Mode::empty()).doing("open", at)
}

/// Attaches the detached `mount` at the host's `at`, or where no path leads there for this user, over
/// the host's root.
pub(crate) fn place_root(mount: OwnedFd, at: &str) -> Result<OwnedFd, Failure> {
    let attr = MountAttr {
        propagation: Propagation::Private.bits(),
        ..MountAttr::default()
    };
    mount_setattr(mount.as_fd(), attr, true).doing("mount_setattr", at)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = match rustix::fs::open(at, flags, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::open("/", flags, Mode::empty()),
        found => found,
    }
    .doing("open", at)?;
    mounts::attach(mount.as_fd(), target.as_fd(), at)?;
    Ok(mount)
}

/// Makes `root` the process's `/` and unmounts everything else.
pub(crate) fn pivot_into(root: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(root).doing("fchdir", "root")?;
    // The old root is stacked onto the new one (pivot_root(2), notes), and then taken off.
    rustix::process::pivot_root(".", ".").doing("pivot_root", ".")?;
    if !lacks(Defence::Detach) {
        rustix::mount::unmount(".", UnmountFlags::DETACH).doing("umount", "old root")?;
    }
    rustix::process::chdir("/").doing("chdir", "/")
}

/// Makes `root` the process's `/` where pivot_root(2) cannot be: on the kernel's initramfs. The mounts
/// of the host stay below, out of reach of all paths.
pub(crate) fn move_into(root: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(root).doing("fchdir", "root")?;
    rustix::mount::mount_move(".", "/").doing("mount move", "/")?;
    rustix::process::chroot(".").doing("chroot", ".")?;
    rustix::process::chdir("/").doing("chdir", "/")
}

/// How the mounts of the root spread, once it is the root.
pub(crate) fn set_final_propagation(
    root: BorrowedFd<'_>,
    propagation: Propagation,
    recursive: bool,
) -> Result<(), Failure> {
    let attr = MountAttr {
        propagation: propagation.bits(),
        ..MountAttr::default()
    };
    mount_setattr(root, attr, recursive).doing("mount_setattr", "/")
}

/// Makes the root's own mount read-only.
pub(crate) fn make_readonly(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let attr = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
        ..MountAttr::default()
    };
    mount_setattr(root, attr, false).doing("mount_setattr", "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
        (directory, fd)
    }

    #[test]
    fn a_symlink_that_points_out_is_followed_inside() {
        let (directory, fd) = root();
        std::os::unix::fs::symlink("/../../outside", directory.path().join("link")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        make_target(fd.as_fd(), "/link/made", Kind::Directory).unwrap();
        assert!(directory.path().join("outside/made").is_dir());
    }

    #[test]
    fn a_dangling_symlink_to_a_directory_is_made_inside() {
        let (directory, fd) = root();
        std::os::unix::fs::symlink("../../run/data", directory.path().join("data")).unwrap();
        make_target(fd.as_fd(), "/data/deep", Kind::Directory).unwrap();
        assert!(directory.path().join("run/data/deep").is_dir());
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
        assert!(make_target(fd.as_fd(), "/loop/x", Kind::Directory).is_err());
    }

    #[test]
    fn a_file_target_is_made_with_its_parents() {
        let (directory, fd) = root();
        make_target(fd.as_fd(), "/etc/app/../hosts", Kind::File).unwrap();
        assert!(directory.path().join("etc/hosts").is_file());
    }

    #[test]
    fn a_dangling_symlink_is_no_way_to_make_a_file_elsewhere() {
        let (directory, fd) = root();
        std::os::unix::fs::symlink("/nowhere/file", directory.path().join("hosts")).unwrap();
        assert!(make_target(fd.as_fd(), "/hosts", Kind::File).is_err());
        assert!(!directory.path().join("nowhere").exists());
    }

    #[test]
    fn a_symlink_in_place_of_proc_is_refused() {
        let (directory, fd) = root();
        std::fs::create_dir(directory.path().join("volume")).unwrap();
        std::os::unix::fs::symlink("volume", directory.path().join("proc")).unwrap();
        let error = make_real_directory(fd.as_fd(), "/proc").unwrap_err();
        assert!(error.to_string().contains("symlink"), "{error}");
    }

    /// How many of ten thousand targets, made while somebody swaps a directory for a symlink that leads
    /// out, came to lie outside.
    fn escapes() -> usize {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (inside, fd) = root();
        let (outside, _fd) = root();
        let volume = inside.path().join("volume");
        std::fs::create_dir_all(volume.join("x/y")).unwrap();
        std::fs::create_dir(outside.path().join("y")).unwrap();
        std::os::unix::fs::symlink(outside.path(), volume.join("other")).unwrap();
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, two) = (volume.join("x"), volume.join("other"));
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while !end.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &one, CWD, &two, exchange).unwrap();
                }
            });
            let lies_outside = |_: &usize| {
                let made = make_target(fd.as_fd(), "/volume/x/y/made", Kind::Directory);
                made.is_ok_and(|made| {
                    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&made));
                    std::fs::read_link(link).is_ok_and(|at| at.starts_with(outside.path()))
                })
            };
            let escaped = (0..10_000).filter(lies_outside).count();
            end.store(true, Ordering::Relaxed);
            escaped + usize::from(outside.path().join("y/made").exists())
        })
    }

    #[test]
    fn a_racing_symlink_leads_no_target_out_and_would_without_the_resolution_in_the_root() {
        assert_eq!(escapes(), 0);
        super::super::mutant::LACKING.set(Some(Defence::InRoot));
        let escaped = escapes();
        super::super::mutant::LACKING.set(None);
        assert!(escaped > 0, "the attack itself does not work");
    }

    #[test]
    fn the_root_is_no_target() {
        let (_directory, fd) = root();
        assert!(make_parent(fd.as_fd(), "/..").is_err());
    }
}
