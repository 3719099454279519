//! Masked and read-only paths: what of procfs and sysfs a container must not see or write.
//!
//! A path is opened once; what is covered is what was opened, and `/dev/null` is the real one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use sys::mount_attr::{MountAttr, mount_setattr};

use super::failure::{Doing, Failure};
use super::mutant::{Defence, lacks};
use super::{mounts, rootfs};

/// Docker's masked paths.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Docker's read-only paths.
pub const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Hides `path` inside `root`; what does not exist needs no hiding.
pub(crate) fn mask(root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let target = match rootfs::open_in_root(root, path, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found.doing("openat2", path)?,
    };
    let stat = rustix::fs::fstat(&target).doing("fstat", path)?;
    let cover = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let data = ["size=0k".to_owned(), "nr_inodes=2".to_owned()];
            mounts::new_filesystem("tmpfs", "tmpfs", &data, mounts::SEALED)?
        }
        _ if lacks(Defence::Null) => {
            let by_name = rootfs::open_in_root(root, "/dev/null", OFlags::PATH);
            mounts::clone_of(by_name.doing("openat2", path)?.as_fd(), false, path)?
        }
        _ => null_device()?,
    };
    mounts::attach(cover.as_fd(), target.as_fd(), path)
}

/// A detached mount of the host's `/dev/null`, after a look at what it is (CVE-2025-31133).
fn null_device() -> Result<OwnedFd, Failure> {
    let path = "/dev/null";
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let null = rustix::fs::open(path, flags, Mode::empty()).doing("open", path)?;
    let stat = rustix::fs::fstat(&null).doing("fstat", path)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !is_device || stat.st_rdev != rustix::fs::makedev(1, 3) {
        let reason = "expected the character device 1:3";
        return Err(Failure::refused("mask", path, reason));
    }
    mounts::clone_of(null.as_fd(), false, path)
}

/// Makes `path` inside `root` read-only with all below it; what does not exist is left.
pub(crate) fn make_readonly(root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let target = match rootfs::open_in_root(root, path, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found.doing("openat2", path)?,
    };
    let clone = mounts::clone_of(target.as_fd(), true, path)?;
    let attr = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
        ..MountAttr::default()
    };
    mount_setattr(clone.as_fd(), attr, true).doing("mount_setattr", path)?;
    mounts::attach(clone.as_fd(), target.as_fd(), path)
}
