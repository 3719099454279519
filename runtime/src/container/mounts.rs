//! Mounts: new file systems, and clones of the host's.
//!
//! Every mount is made detached, given its attributes, and only then moved onto a target that was
//! opened inside the root; no path is resolved twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use sys::mount_attr::{MountAttr, mount_setattr};

use super::failure::{Doing, Failure};
use super::mount_options::Attributes;
use super::rootfs::{self, Kind};

/// Read-only, no set-user-ID, no devices, no programs.
pub(crate) const SEALED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A new file system, mounted nowhere yet. `data` are `key=value`s and flags.
pub(crate) fn new_filesystem(
    fstype: &str,
    source: &str,
    data: &[String],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).doing("fsopen", fstype)?;
    if !source.is_empty() {
        fsconfig_set_string(context.as_fd(), "source", source).doing("fsconfig source", source)?;
    }
    for option in data {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(context.as_fd(), key, value),
            None => fsconfig_set_flag(context.as_fd(), option.as_str()),
        }
        .doing("fsconfig", option)?;
    }
    fsconfig_create(context.as_fd()).doing("fsconfig create", fstype)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing("fsmount", fstype)
}

/// A file system to make.
pub(crate) struct New<'a> {
    pub fstype: &'a str,
    pub source: &'a str,
    pub data: &'a [String],
    /// It starts with what the target holds.
    pub copy_up: bool,
}

/// Mounts a new file system at `target` inside `root`.
pub(crate) fn mount(
    root: BorrowedFd<'_>,
    new: &New<'_>,
    target: &str,
    attributes: &Attributes,
) -> Result<(), Failure> {
    let flags = MountAttrFlags::from_bits_retain(attributes.set | attributes.set_recursive);
    let early = if new.copy_up {
        flags.difference(MountAttrFlags::MOUNT_ATTR_RDONLY)
    } else {
        flags
    };
    let made = new_filesystem(new.fstype, new.source, new.data, early);
    let mount = made.map_err(|mut failure| {
        failure.path = format!("{} for {target}", failure.path);
        failure
    })?;
    set_propagation(mount.as_fd(), attributes, target)?;
    // What the kernel shows of itself must stand where masks will look for it.
    let target_fd = match new.fstype {
        "proc" | "sysfs" => rootfs::make_real_directory(root, target)?,
        _ => {
            let made = rootfs::make_target(root, target, Kind::Directory)?;
            rootfs::refuse_procfs(made.as_fd(), target)?;
            made
        }
    };
    if new.copy_up {
        super::copy_up::copy(target_fd.as_fd(), mount.as_fd(), target)?;
        let attr = MountAttr {
            set: flags.bits().into(),
            ..MountAttr::default()
        };
        mount_setattr(mount.as_fd(), attr, false).doing("mount_setattr", target)?;
    }
    attach(mount.as_fd(), target_fd.as_fd(), target)
}

/// Changes the flags of what is mounted at `target` inside `root`.
pub(crate) fn remount(
    root: BorrowedFd<'_>,
    target: &str,
    attributes: &Attributes,
) -> Result<(), Failure> {
    let flags = rustix::fs::OFlags::PATH;
    let mount = rootfs::open_in_root(root, target, flags).doing("openat2", target)?;
    set_flags(mount.as_fd(), attributes, target)?;
    set_propagation(mount.as_fd(), attributes, target)
}

/// A detached clone of the host's `source` with its flags.
pub(crate) fn clone_of_host(
    source: &str,
    recursive: bool,
    attributes: &Attributes,
) -> Result<OwnedFd, Failure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = open_tree(CWD, source, flags).doing("open_tree", source)?;
    set_flags(tree.as_fd(), attributes, source)?;
    set_propagation(tree.as_fd(), attributes, source)?;
    Ok(tree)
}

fn set_flags(mount: BorrowedFd<'_>, attributes: &Attributes, target: &str) -> Result<(), Failure> {
    let set = |set: u32, clear: u32, recursive| {
        let attr = MountAttr {
            set: set.into(),
            clear: clear.into(),
            propagation: 0,
        };
        if set | clear == 0 {
            return Ok(());
        }
        mount_setattr(mount, attr, recursive).doing("mount_setattr", target)
    };
    set(attributes.set, attributes.clear, false)?;
    set(attributes.set_recursive, attributes.clear_recursive, true)
}

/// Mounts a clone of the host's `source` at `target` inside `root`.
pub(crate) fn bind(
    root: BorrowedFd<'_>,
    source: &str,
    target: &str,
    recursive: bool,
    attributes: &Attributes,
) -> Result<(), Failure> {
    let tree = clone_of_host(source, recursive, attributes)?;
    attach_inside(root, tree.as_fd(), target)
}

/// Attaches a detached tree at `target` inside `root`, made as what the tree's root is.
pub(crate) fn attach_inside(
    root: BorrowedFd<'_>,
    tree: BorrowedFd<'_>,
    target: &str,
) -> Result<(), Failure> {
    let stat = rustix::fs::fstat(tree).doing("fstat", target)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    let target_fd = rootfs::make_target(root, target, kind)?;
    rootfs::refuse_procfs(target_fd.as_fd(), target)?;
    attach(tree, target_fd.as_fd(), target)
}

fn set_propagation(
    mount: BorrowedFd<'_>,
    attributes: &Attributes,
    target: &str,
) -> Result<(), Failure> {
    let Some(propagation) = attributes.propagation else {
        return Ok(());
    };
    let attr = MountAttr {
        propagation: propagation.bits(),
        ..MountAttr::default()
    };
    mount_setattr(mount, attr, attributes.propagation_recursive).doing("mount_setattr", target)
}

/// A clone of what `fd` stands on, alone.
pub(crate) fn clone_of(
    fd: BorrowedFd<'_>,
    recursive: bool,
    path: &str,
) -> Result<OwnedFd, Failure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(fd, "", flags).doing("open_tree", path)
}

/// Moves the detached mount `from` onto what `to` stands on.
pub(crate) fn attach(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    target: &str,
) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(from, "", to, "", flags).doing("move_mount", target)
}
