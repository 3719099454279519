//! Mounting STATE's file system: the journal's replay runs in a copy of PID 1, bounded, and the
//! watchdog is fed meanwhile.
//!
//! It never leaves a mount that comes late: only PID 1 attaches what the copy has made ready.

use super::repair::BREATH;
use crate::clock::now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use sys::reap::{Ended, Reaped};

/// How long a replay may take: 64 MB of journal in single blocks, on a disk that does 60 a second.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long a killed copy may take to be gone.
const KILLED: Duration = Duration::from_secs(5);

/// Mounts an ext4 on `target`.
///
/// # Errors
/// As mount(2); `ETIMEDOUT` when the disk did not answer in [`PATIENCE`].
pub fn mount_ext4(device: &Path, target: &Path, alive: &mut dyn FnMut()) -> Result<(), Errno> {
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_set_string(&context, "errors", "remount-ro")?;
    // The context is shared with the copy: what it has created is mounted here.
    let create = || fsconfig_create(&context).map_or_else(number, |()| 0);
    let pid = sys::reap::run_in_copy(create).map_err(|_| Errno::AGAIN)?;
    match ended(pid, alive)? {
        Ended::Exited(0) => {}
        Ended::Exited(error) => return Err(Errno::from_raw_os_error(error.into())),
        Ended::Signaled(_) => return Err(Errno::TIMEDOUT),
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(
        &mount,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// An error as an exit status; Linux's numbers fit.
fn number(error: Errno) -> u8 {
    u8::try_from(error.raw_os_error()).unwrap_or(u8::MAX)
}

/// Waits for the end of the copy, which is killed at the deadline.
fn ended(pid: u32, alive: &mut dyn FnMut()) -> Result<Ended, Errno> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(raw.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let mut deadline = now() + PATIENCE;
    let mut killed = false;
    loop {
        alive();
        match sys::reap::reap() {
            Ok(Reaped::Child(child, ended)) if child == pid => return Ok(ended),
            Ok(Reaped::Child(..)) => continue,
            _ => {}
        }
        if now() >= deadline {
            if killed {
                return Err(Errno::TIMEDOUT);
            }
            (killed, deadline) = (true, now() + KILLED);
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
        wait(&pidfd, deadline);
    }
}

/// Waits for its end, or for the next breath.
fn wait(pidfd: &OwnedFd, deadline: Duration) {
    let left = deadline.saturating_sub(now()).min(BREATH);
    let timeout = Timespec::try_from(left).ok();
    let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], timeout.as_ref());
}
