//! What is done last: write back and unmount in a copy of PID 1 that may hang, then reboot(2).
//!
//! PID 1 itself never touches a disk here, so a dead one cannot keep the machine up.

use formats::paths::STATE;
use formats::registration::Power;
use nix::sys::reboot::{RebootMode, reboot};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use std::fs;
use std::path::Path;

/// How the disks were left, as the copy's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Disks {
    /// Unmounted: clean.
    Unmounted = 0,
    /// Still used by something, but read-only now: clean.
    ReadOnly = 1,
    /// Written back as far as it went; the journal will be replayed.
    Dirty = 2,
}

impl Disks {
    /// From the copy's exit status.
    #[must_use]
    pub fn from_status(status: u8) -> Self {
        match status {
            0 => Self::Unmounted,
            1 => Self::ReadOnly,
            _ => Self::Dirty,
        }
    }

    /// For the console.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unmounted => "file systems are unmounted",
            Self::ReadOnly => "file systems are read-only",
            Self::Dirty => "file systems could not be unmounted: the journal will be replayed",
        }
    }
}

/// Writes everything back and unmounts STATE with all that lies on it. For the copy only.
#[must_use]
pub fn release_disks(state: &Path) -> u8 {
    rustix::fs::sync();
    for target in still_mounted(state) {
        let _ = unmount(target.as_str(), UnmountFlags::empty());
    }
    // A path twice in the table is stacked; one unmount takes one layer off.
    let mut left = still_mounted(state);
    left.retain(|target| unmount(target.as_str(), UnmountFlags::empty()).is_err());
    let mut code = Disks::Unmounted;
    for target in &left {
        code = match mount_remount(target.as_str(), MountFlags::RDONLY, "") {
            Ok(()) if code != Disks::Dirty => Disks::ReadOnly,
            _ => Disks::Dirty,
        };
    }
    rustix::fs::sync();
    code as u8
}

fn still_mounted(state: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    to_unmount(&table, state.to_str().unwrap_or(STATE))
}

/// Targets to unmount, the latest mounted first: STATE, what lies below it, and overlays of it.
fn to_unmount(table: &str, state: &str) -> Vec<String> {
    let below = format!("{state}/");
    let layer = format!("={below}");
    let mut targets: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (target, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let overlay = kind == "overlay" && options.contains(&layer);
            let held = target == state || target.starts_with(&below) || overlay;
            held.then(|| unescape(target))
        })
        .collect();
    targets.reverse();
    targets
}

/// proc_mounts(5) writes blank, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// Switches the machine off or restarts it. Returns only when the kernel refuses.
pub fn finish(power: Power) -> nix::errno::Errno {
    let mode = match power {
        Power::Off => RebootMode::RB_POWER_OFF,
        Power::Reboot => RebootMode::RB_AUTOBOOT,
    };
    match reboot(mode) {
        Err(e) => e,
        Ok(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_state_goes_before_state() {
        let table = "overlay / overlay rw,upperdir=/host/var/x 0 0\n/dev/vda2 /var ext4 rw 0 0\n\
                     overlay /var/lib/skeg/a\\040b overlay rw 0 0\n\
                     overlay /run/x overlay rw,lowerdir=/var/lib/skeg/l 0 0\n\
                     tmpfs /various tmpfs rw 0 0\n";
        let targets = to_unmount(table, "/var");
        assert_eq!(targets, ["/run/x", "/var/lib/skeg/a b", "/var"]);
    }
}
