//! `mount_setattr(2)`: flags and propagation of a mount, by descriptor.
//!
//! It never takes a path: what is changed is what was opened.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to change on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
}

/// Changes the mount that `mount` (any descriptor of its root) stands on, and with `recursive` all
/// mounts below it.
///
/// # Errors
/// What the kernel says.
pub fn mount_setattr(mount: BorrowedFd<'_>, attr: MountAttr, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attr.set,
        attr_clr: attr.clear,
        propagation: attr.propagation,
        userns_fd: 0,
    };
    change(mount, &attr, recursive)
}

/// Maps the owners of the detached mount by the id maps of the user namespace `userns`
/// (`MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// `EINVAL` when its file system cannot be mapped, `EPERM` when it is mapped already, and what the
/// kernel says.
pub fn map_ids(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.as_raw_fd() as u64,
    };
    change(mount, &attr, recursive)
}

fn change(mount: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a NUL-terminated constant, and `attr` is read for the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
