//! STATE on `/var`: waited for by event and bounded, mounted, or replaced by a bounded tmpfs.
//!
//! Nothing is ever formatted or repaired here: what cannot be mounted is named and left alone.

use super::disks::find_state;
use super::uevent::Uevents;
use crate::clock::{Moment, now};
use formats::paths::STATE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a boot waits for a disk that may still come.
pub const PATIENCE: Duration = Duration::from_secs(5);

const FLAGS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOATIME);

/// A degraded state: its name and its text.
pub type Problem = (&'static str, String);

/// Mounts STATE on `/var`. When that fails a tmpfs stands in, so that the host runs without memory of
/// its past; the problems say so.
pub fn mount_state(uevents: Option<&Uevents>, patience: Duration) -> Vec<Problem> {
    let mut problems = Vec::new();
    let device = wait(uevents, patience, &mut problems);
    let mounted = device.is_some_and(|device| match mount_ext4(&device) {
        Ok(()) => true,
        Err(e) => {
            let text = format!(
                "mount {} on {STATE}: {e}; data is on the disk, untouched",
                device.display()
            );
            problems.push(("state-unmountable", text));
            false
        }
    });
    if !mounted {
        let tmpfs = mount(c"tmpfs", STATE, c"tmpfs", FLAGS, c"mode=0755,size=50%");
        if let Err(e) = tmpfs {
            problems.push(("state-volatile", format!("mount a tmpfs on {STATE}: {e}")));
        }
    }
    problems
}

fn mount_ext4(device: &Path) -> rustix::io::Result<()> {
    mount(device, STATE, c"ext4", FLAGS, c"errors=remount-ro")
}

fn wait(
    uevents: Option<&Uevents>,
    patience: Duration,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    let deadline = now() + patience;
    loop {
        let found = find_state(Path::new("/sys/class/block"), Path::new("/dev"));
        if let Some(device) = found.devices.first() {
            if found.devices.len() > 1 {
                let text = format!(
                    "{} partitions have its type; {} was taken",
                    found.devices.len(),
                    device.display()
                );
                problems.push(("state-ambiguous", text));
            }
            return Some(device.clone());
        }
        if !more_devices(uevents, deadline) {
            let seen = found.damaged.join("; ");
            let text = format!(
                "no partition of its type within {} s; /var is a tmpfs and is lost at the next boot. {seen}",
                patience.as_secs()
            );
            problems.push(("state-missing", text.trim_end().to_owned()));
            return None;
        }
    }
}

/// Waits until a block device has come or gone; false at the deadline.
fn more_devices(uevents: Option<&Uevents>, deadline: Moment) -> bool {
    let Some(uevents) = uevents else {
        return false;
    };
    loop {
        let left = deadline.saturating_sub(now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(uevents, PollFlags::IN)];
        let _ = poll(&mut fds, timeout.as_ref());
        if uevents.drain("block") {
            return true;
        }
    }
}
