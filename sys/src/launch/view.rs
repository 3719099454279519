//! A service's own mount namespace: ready steps, executed by the child between clone and exec.
//!
//! It decides nothing and allocates nothing: which steps make which view is the caller's.

use std::ffi::{CStr, CString};

/// `MOUNT_ATTR_*` of mount_setattr(2).
pub const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// See [`READ_ONLY`].
pub const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// See [`READ_ONLY`].
pub const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;
/// See [`READ_ONLY`].
pub const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// One step. All act on the child's own mount namespace, whose mounts follow those of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountStep {
    /// Makes the path a mount of its own, with all mounts below it.
    Bind(CString),
    /// Changes the mount at the path, and all below it.
    Attributes {
        /// A mount's root.
        path: CString,
        /// Attributes to set.
        set: u64,
        /// Attributes to clear.
        clear: u64,
    },
    /// Lays an empty, read-only folder without permissions over a folder.
    HideFolder(CString),
    /// Lays a device that cannot be opened over a file.
    HideFile(CString),
    /// A new `/dev` with nothing but what every program may use.
    Devices,
    /// A new `/proc` that shows the processes of the own user alone, and no settings.
    Processes,
}

/// What a program may expect in `/dev`.
pub const DEVICES: [&CStr; 6] = [
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/random",
    c"/dev/urandom",
    c"/dev/tty",
];

/// Their major and minor numbers.
const NUMBERS: [(u32, u32); 6] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];

/// Leaves for a mount namespace whose mounts follow the host's, and are none of the host's business.
pub(super) fn leave() -> bool {
    // SAFETY: numbers and constant strings; the child is a process of its own with one thread.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_SLAVE,
                std::ptr::null(),
            ) == 0
    }
}

/// Executes one step; on failure the error is in `errno`.
pub(super) fn take(step: &MountStep) -> bool {
    match step {
        MountStep::Bind(path) => bind(path, path),
        MountStep::Attributes { path, set, clear } => attributes(path, *set, *clear),
        MountStep::HideFolder(path) => {
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            mount(c"tmpfs", path, flags, c"mode=000,size=4k,nr_inodes=2")
        }
        MountStep::HideFile(path) => {
            bind(c"/dev/null", path) && attributes(path, READ_ONLY | NO_DEV | NO_EXEC, 0)
        }
        MountStep::Devices => devices(),
        MountStep::Processes => {
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            mount(c"proc", c"/proc", flags, c"hidepid=invisible,subset=pid")
        }
    }
}

fn mount(kind: &CStr, at: &CStr, flags: libc::c_ulong, options: &CStr) -> bool {
    // SAFETY: every pointer is a C string that outlives the call.
    unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        ) == 0
    }
}

fn bind(from: &CStr, to: &CStr) -> bool {
    let none = std::ptr::null();
    let flags = libc::MS_BIND | libc::MS_REC;
    // SAFETY: both paths are C strings that outlive the call; a bind reads no options.
    unsafe { libc::mount(from.as_ptr(), to.as_ptr(), none, flags, none.cast()) == 0 }
}

fn attributes(path: &CStr, set: u64, clear: u64) -> bool {
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string, and `attr` is read for the size given.
    unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        ) == 0
    }
}

fn devices() -> bool {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    if !mount(c"tmpfs", c"/dev", flags, c"mode=755,size=64k,nr_inodes=16") {
        return false;
    }
    for (path, (major, minor)) in DEVICES.iter().zip(NUMBERS) {
        let device = libc::makedev(major, minor);
        // SAFETY: the path is a constant C string; chmod, since the umask took bits away.
        let made = unsafe {
            libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device) == 0
                && libc::chmod(path.as_ptr(), 0o666) == 0
        };
        if !made {
            return false;
        }
    }
    attributes(c"/dev", READ_ONLY, 0)
}

/// The step for people: what it does, and where.
pub(super) fn describe(step: &MountStep) -> String {
    let (what, path) = match step {
        MountStep::Bind(path) => ("bind", path.to_string_lossy()),
        MountStep::Attributes { path, .. } => ("change mount", path.to_string_lossy()),
        MountStep::HideFolder(path) | MountStep::HideFile(path) => ("hide", path.to_string_lossy()),
        MountStep::Devices => ("mount a private", "/dev".into()),
        MountStep::Processes => ("mount a private", "/proc".into()),
    };
    format!("{what} {path}")
}
