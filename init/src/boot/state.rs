//! STATE on `/var`: waited for by event and bounded, grown with its disk, repaired when it says that
//! it needs it, mounted; or replaced by a bounded tmpfs.
//!
//! Nothing is ever formatted: what cannot be mounted or repaired is named and left alone.

use super::disks::find_state;
use super::growth;
use super::mounting::{self, mount_ext4};
use super::repair::{Aids, Pass, repair};
use super::superblock::{Superblock, was_ours};
use super::uevent::Uevents;
use crate::clock::{Moment, now};
use formats::paths::STATE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a boot waits for a disk that may still come.
pub const PATIENCE: Duration = Duration::from_secs(5);

const FLAGS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOATIME);

/// A degraded state: its name and its text.
pub type Problem = (&'static str, String);

/// What became of STATE.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Degraded states.
    pub problems: Vec<Problem>,
    /// Whether `/var` is the disk's, so that it is there at the next boot too.
    pub kept: bool,
    /// Whether it is larger than it was.
    pub grown: bool,
}

/// Mounts STATE on `/var`. When that fails a tmpfs stands in, so that the host runs without memory of
/// its past; the problems say so.
pub fn mount_state(uevents: Option<&Uevents>, patience: Duration, aids: &mut Aids<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(device) = wait(uevents, patience, &mut outcome.problems) {
        on_disk(&device, aids, &mut outcome);
    }
    if !outcome.kept {
        let tmpfs = mount(c"tmpfs", STATE, c"tmpfs", FLAGS, c"mode=0755,size=50%");
        if let Err(e) = tmpfs {
            let text = format!("mount a tmpfs on {STATE}: {e}");
            outcome.problems.push(("state-volatile", text));
        }
    }
    outcome
}

fn on_disk(device: &Path, aids: &mut Aids<'_>, outcome: &mut Outcome) {
    let enlarged = growth::partition(device);
    match mount_or_repair(device, aids) {
        Err(problem) => return outcome.problems.push(problem),
        Ok(repaired) => outcome.problems.extend(repaired),
    }
    outcome.kept = true;
    let filled = growth::file_system(device, Path::new(STATE), &mut *aids.alive);
    for grown in [enlarged, filled] {
        match grown {
            Ok(grown) => outcome.grown |= grown,
            Err(text) => outcome.problems.push(("state-ungrown", text)),
        }
    }
}

/// Mounts, after a repair if one is needed, which is then a problem to be shown.
fn mount_or_repair(device: &Path, aids: &mut Aids<'_>) -> Result<Option<Problem>, Problem> {
    let known = needs_repair(device);
    let pass = match known {
        Some(pass) => pass,
        None => match mount_ext4(device, Path::new(STATE), aids.alive) {
            Ok(()) => return Ok(None),
            Err(e) if is_damage(e) && Superblock::read(device).is_ok() => Pass::Safe,
            Err(e) => return Err(unmountable(device, e)),
        },
    };
    let said = repair(device, pass, aids).map_err(|text| {
        let text = format!("{text}; data is on the disk, {STATE} is a tmpfs");
        ("state-damaged", text)
    })?;
    match mount_ext4(device, Path::new(STATE), aids.alive) {
        Ok(()) => Ok(Some(("state-repaired", said))),
        Err(e) => Err(unmountable(device, e)),
    }
}

fn unmountable(device: &Path, error: Errno) -> Problem {
    let name = device.display();
    let (state, why) = match error {
        Errno::ACCESS | Errno::ROFS => (
            "state-read-only",
            "the disk takes no writes: give the machine its disk writable, and reboot".to_owned(),
        ),
        Errno::TIMEDOUT => (
            "state-unmountable",
            format!(
                "not in {} s: look for disk errors in the kernel's log (skeg logs -k)",
                mounting::PATIENCE.as_secs()
            ),
        ),
        error => ("state-unmountable", error.to_string()),
    };
    let text = format!(
        "mount {name} on {STATE}: {why}; data is on the disk, untouched, and {STATE} is a tmpfs"
    );
    (state, text)
}

/// What the superblock itself asks for. One that was wiped has copies, which only `-y` uses.
fn needs_repair(device: &Path) -> Option<Pass> {
    match Superblock::read(device) {
        Ok(superblock) => superblock.errors.then_some(Pass::Safe),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            was_ours(device).unwrap_or(false).then_some(Pass::All)
        }
        Err(_) => None,
    }
}

/// What mount(2) says of a file system that contradicts itself: `EFSCORRUPTED`, `EFSBADCRC`, or, for
/// the superblock's own fields, `EINVAL`. An I/O error is none: e2fsck would take it for damage.
fn is_damage(error: Errno) -> bool {
    [Errno::UCLEAN, Errno::BADMSG, Errno::INVAL].contains(&error)
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
                "no partition of its type within {} s: plug its disk in and reboot; \
                 {STATE} is a tmpfs and is lost at the next boot. {seen}",
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
