//! Room on STATE, and whether it takes writes at all: looked at now and then, shown when it does not.
//!
//! It frees nothing: what may go is for the owner to say.

use crate::clock::Moment;
use crate::report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// How often it is looked at, on wake-ups that come anyway.
const PERIOD: Duration = Duration::from_secs(10);
/// Less than that is full, in bytes, whatever the size.
const LEAST: u64 = 32 << 20;
const FULL: &str = "state-full";
const READ_ONLY: &str = "state-read-only";

/// What the kernel says of a file system.
#[derive(Debug, Clone, Copy)]
struct Seen {
    total: u64,
    free: u64,
    read_only: bool,
}

/// The file system that is looked at.
#[derive(Debug, Default)]
pub struct Room {
    path: Option<PathBuf>,
    next: Moment,
    full: bool,
}

impl Room {
    /// Looks at the file system mounted on `path`.
    #[must_use]
    pub fn on(path: PathBuf) -> Self {
        Self {
            path: Some(path),
            ..Self::default()
        }
    }

    /// Looks when it is time to.
    pub fn tick(&mut self, now: Moment, report: &mut Report) {
        let Some(path) = self.path.as_ref().filter(|_| now >= self.next) else {
            return;
        };
        self.next = now + PERIOD;
        // It is answered from memory, also when the disk is gone.
        let Ok(about) = rustix::fs::statvfs(path) else {
            return;
        };
        let seen = Seen {
            total: about.f_blocks.saturating_mul(about.f_frsize),
            free: about.f_bavail.saturating_mul(about.f_frsize),
            read_only: about.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        };
        self.judge(seen, report);
    }

    fn judge(&mut self, seen: Seen, report: &mut Report) {
        if seen.read_only {
            report.degrade(
                READ_ONLY,
                "STATE takes no more writes since its disk has failed (skeg logs -k says how): \
                 reboot, which repairs what can be repaired",
            );
        }
        // Twice as much lifts it, so that a file that comes and goes does not make it flicker.
        let least = LEAST.max(seen.total / 50);
        self.full = seen.free < if self.full { 2 * least } else { least };
        if !self.full {
            return report.restore(FULL);
        }
        let text = format!(
            "STATE is full, or will be with the next {} MB: pulls, volumes and logs fail; remove \
             images or volumes (skeg rmi, skeg volume rm), or enlarge its disk and reboot",
            least >> 20
        );
        report.degrade(FULL, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Console;

    const GIB: u64 = 1 << 30;

    fn states(report: &Report) -> Vec<&str> {
        let states = report.degraded().states();
        states.iter().map(|state| state.name.as_str()).collect()
    }

    #[test]
    fn it_is_full_before_the_last_byte_and_not_again_until_there_is_real_room() {
        let mut report = Report::new(Console::default(), "/nonexistent/boot.json".as_ref());
        let mut room = Room::default();
        let mut look = |free, report: &mut Report| {
            let (total, read_only) = (4 * GIB, false);
            room.judge(
                Seen {
                    total,
                    free,
                    read_only,
                },
                report,
            );
            !states(report).is_empty()
        };
        assert!(!look(GIB, &mut report));
        assert!(look(60 << 20, &mut report));
        assert!(look(100 << 20, &mut report));
        assert!(!look(200 << 20, &mut report));
        assert!(!look(100 << 20, &mut report));
    }

    #[test]
    fn a_disk_that_failed_is_told_until_the_reboot() {
        let mut report = Report::new(Console::default(), "/nonexistent/boot.json".as_ref());
        let seen = Seen {
            total: GIB,
            free: GIB,
            read_only: true,
        };
        Room::default().judge(seen, &mut report);
        assert_eq!(states(&report), ["state-read-only"]);
    }
}
