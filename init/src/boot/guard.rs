//! What resets a machine that hangs: its watchdog; or else the kernel's own, with panics on lockups.
//!
//! The kernel's own is no equal: it needs timer interrupts that still come.

use super::modules;
use crate::clock::now;
use crate::report::Report;
use crate::watchdog::Watchdog;
use formats::paths::SPARE_MODULE_LIST;
use std::fs;
use std::io;
use std::path::Path;

const DEVICE: &str = "/dev/watchdog0";

/// Lockups that a kernel sees itself become panics, and `panic=` a reboot. Not among them: a task that
/// waits for a disk (`hung_task_panic`), for a host goes on without its disk.
const PANICS: [&str; 2] = ["softlockup_panic", "hardlockup_panic"];

/// Arms the best that there is and says what it is.
pub fn arm(report: &mut Report) -> Option<Watchdog> {
    let (spare, folder) = (Path::new(SPARE_MODULE_LIST), Path::new(modules::FOLDER));
    let hardware = Watchdog::arm(Path::new(DEVICE), now());
    let Err(problem) = hardware else {
        modules::discard(spare, folder);
        return armed(report, hardware);
    };
    panic_on_lockups();
    if problem.kind() != io::ErrorKind::NotFound {
        return armed(report, Err(problem));
    }
    let failed = modules::load(spare, folder);
    if !failed.is_empty() {
        report.say(&format!("watchdog: {}", failed.join("; ")));
    }
    let own = Watchdog::arm(Path::new(DEVICE), now());
    if let Ok(watchdog) = &own {
        let text = format!(
            "no hardware watchdog: the kernel's own resets after {} s, unless its timers stop too",
            watchdog.timeout().as_secs()
        );
        report.degrade("watchdog-soft", &text);
    }
    armed(report, own)
}

fn armed(report: &mut Report, result: io::Result<Watchdog>) -> Option<Watchdog> {
    match result {
        Ok(watchdog) => {
            let seconds = watchdog.timeout().as_secs();
            report.say(&format!("watchdog: resets after {seconds} s"));
            report.stage("watchdog", now());
            Some(watchdog)
        }
        Err(e) => {
            let text = format!("open {DEVICE}: {e}; a hang of this machine will last");
            report.degrade("watchdog-missing", &text);
            None
        }
    }
}

fn panic_on_lockups() {
    for name in PANICS {
        // A kernel without that detector has no such file.
        let _ = fs::write(Path::new("/proc/sys/kernel").join(name), "1");
    }
}
