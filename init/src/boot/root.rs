//! The root: the initramfs, bound onto itself so that containers can `pivot_root`, read-only in the end.
//!
//! Nothing is copied. The kernel refuses `pivot_root` on the bare rootfs, but not on a bind mount of it.

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_move, mount_remount,
};
use std::{fs, io};

/// Where the copy of the mount stands for a moment.
const STAND: &str = "/.root";

/// Puts a bind mount of the root over the root. To be called before anything else is mounted.
///
/// # Errors
/// The first step that failed, with its name in the text; the root is then the bare rootfs as before.
pub fn bind_over_itself() -> io::Result<()> {
    let step = |name: &str, e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
    fs::create_dir_all(STAND).map_err(|e| step("create /.root", e))?;
    mount_bind("/", STAND).map_err(|e| step("bind / to /.root", e.into()))?;
    std::env::set_current_dir(STAND).map_err(|e| step("enter /.root", e))?;
    mount_move(".", "/").map_err(|e| step("move /.root to /", e.into()))?;
    rustix::process::chroot(".").map_err(|e| step("chroot", e.into()))?;
    std::env::set_current_dir("/").map_err(|e| step("enter /", e))?;
    let _ = fs::remove_dir(STAND);
    // Containers' mounts must not come back here, nor ours reach them, unless they ask.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|e| step("make / private", e.into()))
}

/// Makes the root read-only, once `/etc` is built.
///
/// # Errors
/// As mount(2), e.g. when [`bind_over_itself`] has failed.
pub fn make_read_only() -> io::Result<()> {
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "").map_err(Into::into)
}
