//! The way from the kernel's hand-over to a host that can run services.
//!
//! Each step is stamped; a step that fails is a degraded state by name, and the next one follows.

pub mod disks;
pub mod etc;
pub mod gpt;
pub mod growth;
pub mod guard;
pub mod identity;
pub mod modules;
pub mod mounting;
pub mod mounts;
pub mod repair;
pub mod root;
pub mod state;
pub mod superblock;
pub mod uevent;

use crate::clock::{Moment, now};
use crate::console::Console;
use crate::floor::Floor;
use crate::journal::{Journal, kernel};
use crate::report::Report;
use crate::room::Room;
use crate::service::cgroup::Cgroups;
use crate::trial::{self, Trial};
use crate::watchdog::Watchdog;
use formats::paths;
use formats::service::Service;
use repair::Aids;
use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;
use std::time::Duration;
use uevent::Uevents;

/// What a boot leaves for the host.
#[derive(Debug)]
pub struct Booted {
    /// Console, timeline and degraded states so far.
    pub report: Report,
    /// The armed watchdog, if there is one.
    pub watchdog: Option<Watchdog>,
    /// The kernel's device events.
    pub uevents: Option<Uevents>,
    /// The cgroup hierarchy, if there is one.
    pub cgroups: Option<Cgroups>,
    /// The image's services.
    pub services: Vec<Service>,
    /// The clock's floor, and where the time is kept.
    pub floor: Floor,
    /// The journal of this boot, where STATE is kept.
    pub journal: Option<Journal>,
    /// Room on STATE.
    pub room: Room,
    /// The trial that this boot is, if it is one.
    pub trial: Option<Trial>,
}

/// Boots. `started` is when PID 1 began to run.
#[must_use]
pub fn boot(started: Moment) -> Booted {
    let bound = root::bind_over_itself();
    let failed_mounts = mounts::early();
    fill_standard_streams();
    let console = Console::open(Path::new("/dev/console"));
    let has_console = console.is_there();
    let _ = fs::create_dir_all(paths::SERVICE_LOGS);
    let mut report = Report::new(console, Path::new(paths::BOOT_TIMELINE));
    report.stage("init", started);
    if let Err(e) = &bound {
        report.degrade(
            "root-bare",
            &format!("{e}; containers cannot change their root"),
        );
    }
    degrade_list(&mut report, "mounts-incomplete", &failed_mounts);
    if !has_console {
        report.degrade(
            "console-missing",
            "no console of the kernel's command line exists",
        );
    }
    report.stage("mounts", now());
    let os_release = fs::read_to_string(paths::OS_RELEASE).unwrap_or_default();
    let mut floor = Floor::of_image(&os_release);
    floor.raise();
    let uevents = Uevents::open().ok();
    let failed = modules::load(Path::new(paths::MODULE_LIST), Path::new(modules::FOLDER));
    degrade_list(&mut report, "modules-incomplete", &failed);
    report.stage("modules", now());
    let mut watchdog = guard::arm(&mut report);
    let cgroups = prepare_cgroups(&mut report);
    let state = state::mount_state(
        uevents.as_ref(),
        patience(),
        &mut Aids {
            cgroups: cgroups.as_ref(),
            alive: &mut || feed(&mut watchdog),
            say: &|text| report.say(text),
        },
    );
    for (name, text) in &state.problems {
        report.degrade(name, text);
    }
    if state.grown {
        report.stage("state-grown", now());
    }
    report.stage("state", now());
    // Its work is done, and what lies in the initramfs is memory.
    let _ = fs::remove_file(paths::E2FSCK);
    feed(&mut watchdog);
    if state.kept {
        floor.keep_at(paths::LAST_TIME.into(), now());
        floor.raise();
    }
    if let Some((name, text)) = floor.problem() {
        report.degrade(name, &text);
    }
    build_etc(&mut report, state.kept);
    report.stage("etc", now());
    mounts::firmware();
    let trial = read_trial(&report);
    let (journal, room) = match state.kept {
        true => keep_journal(&report, &os_release, trial.is_some()),
        false => (None, Room::default()),
    };
    if bound.is_ok()
        && let Err(e) = root::make_read_only()
    {
        report.degrade("root-writable", &format!("remount / read-only: {e}"));
    }
    report.stage("root", now());
    let services = read_services(&mut report, Path::new(paths::SERVICES));
    feed(&mut watchdog);
    Booted {
        report,
        watchdog,
        uevents,
        cgroups,
        services,
        floor,
        trial,
        journal,
        room,
    }
}

fn keep_journal(report: &Report, os_release: &str, hurried: bool) -> (Option<Journal>, Room) {
    report.batch().hurry(hurried);
    let kmsg = kernel::open().ok();
    let journal = Journal::new(paths::JOURNAL.into(), os_release, kmsg);
    (Some(journal), Room::on(paths::STATE.into()))
}

fn read_trial(report: &Report) -> Option<Trial> {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let boot_id = fs::read_to_string(trial::BOOT_ID).unwrap_or_default();
    let record = Path::new(formats::release::BOOT_OK);
    let trial = Trial::of_boot(Path::new(trial::COUNTED), record, &line, &boot_id)?;
    let seconds = trial.deadline().as_secs();
    report.say(&format!(
        "on trial: rebooted unless found good within {seconds} s"
    ));
    Some(trial)
}

/// A machine without a console starts PID 1 with no open stream: no other file may take their numbers.
fn fill_standard_streams() {
    while let Ok(null) = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        let number = null.as_raw_fd();
        if number > 2 {
            return;
        }
        // It stays open for ever, as the stream of its number.
        let _ = null.into_raw_fd();
    }
}

fn degrade_list(report: &mut Report, name: &str, failed: &[String]) {
    if !failed.is_empty() {
        report.degrade(name, &failed.join("; "));
    }
}

fn feed(watchdog: &mut Option<Watchdog>) {
    if let Some(watchdog) = watchdog {
        watchdog.feed(now());
    }
}

fn prepare_cgroups(report: &mut Report) -> Option<Cgroups> {
    match Cgroups::prepare(Path::new("/sys/fs/cgroup")) {
        Ok((cgroups, failed)) => {
            degrade_list(report, "cgroups-incomplete", &failed);
            Some(cgroups)
        }
        Err(e) => {
            report.degrade(
                "cgroups-missing",
                &format!("/sys/fs/cgroup: {e}; nothing is limited"),
            );
            None
        }
    }
}

/// How long to wait for STATE; `skeg.state=none` on the kernel's command line says there is none.
fn patience() -> Duration {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    match line
        .split_whitespace()
        .any(|word| word == "skeg.state=none")
    {
        true => Duration::ZERO,
        false => state::PATIENCE,
    }
}

fn build_etc(report: &mut Report, has_state: bool) {
    let (image, etc) = (Path::new(paths::IMAGE_ETC), Path::new("/etc"));
    let mut left_out = etc::lay_over(image, etc);
    // Nobody reads them here, and what lies in the initramfs is memory.
    let _ = fs::remove_dir_all(image);
    let config = Path::new(paths::CONFIG);
    left_out.extend(etc::lay_over(&config.join(formats::config::ETC), etc));
    left_out.extend(etc::append(&config.join(formats::config::APPEND), etc));
    if let Err(e) = etc::link_resolver(etc) {
        left_out.push(format!("/etc/resolv.conf: {e}"));
    }
    let (id, kept) = identity::machine_id(Path::new(paths::MACHINE_ID), identity::fresh_id);
    if let (Err(e), true) = (kept, has_state) {
        report.degrade(
            "machine-id-volatile",
            &format!("{e}; this host is a new one at each boot"),
        );
    }
    if let Err(e) = fs::write(etc.join("machine-id"), format!("{id}\n")) {
        left_out.push(format!("/etc/machine-id: {e}"));
    }
    let text = fs::read_to_string(etc.join("hostname")).unwrap_or_default();
    let name = identity::hostname(&text);
    if let Err(e) = nix::unistd::sethostname(name) {
        left_out.push(format!("hostname {name}: {e}"));
    }
    degrade_list(report, "etc-incomplete", &left_out);
}

/// Reads every service file; one that is refused degrades the host and the others still run.
pub fn read_services(report: &mut Report, folder: &Path) -> Vec<Service> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => {
            report.degrade(
                "services-missing",
                &format!("read {}: {e}", folder.display()),
            );
            return Vec::new();
        }
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort_unstable();
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let asked = |condition: &String| line.split_whitespace().any(|word| word == condition);
    let mut services = Vec::new();
    for path in files {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"));
        let parsed =
            text.and_then(|t| formats::service::parse(&name, &t).map_err(|e| e.to_string()));
        match parsed {
            Ok(service) if !service.condition.as_ref().is_none_or(asked) => {}
            Ok(service) => services.push(service),
            Err(problem) => report.degrade(&format!("service-invalid:{name}"), &problem),
        }
    }
    services
}
