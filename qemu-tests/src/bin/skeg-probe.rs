//! The container that benchmarks start: says that it runs, then how much memory the machine uses.
//!
//! It speaks through the kernel's log on every system alike, and measures with the kernel's clock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::Duration;

/// Given to the container as a device.
const LOG: &str = "/dev/kmsg";
/// The host's `/proc/sys/vm/drop_caches`, given to the container as a volume.
const DROP_CACHES: &str = "/drop_caches";
/// Both systems have settled by then.
const IDLE: Duration = Duration::from_secs(30);
/// The kernel frees what it dropped in the background.
const DROPPED: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match probe() {
        Ok(()) => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("skeg-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> std::io::Result<()> {
    let mut log = OpenOptions::new().write(true).open(LOG)?;
    // Each write is a record. Severity 2 is above the consoles' level on every system.
    let mut say = |words: &str| log.write_all(format!("<2>skeg-probe: {words}\n").as_bytes());
    say("runs")?;
    let records = records()?;
    let at = |wanted: fn(&str) -> bool| {
        let found = records.iter().find(|(_, text)| wanted(text));
        found.map_or(0, |(at, _)| *at)
    };
    let first = at(|text| text.starts_with("Run /") && text.ends_with("as init process"));
    let systemd = at(|text| text.starts_with("systemd[1]: systemd "));
    let runs = at(|text| text.starts_with("skeg-probe: runs"));
    say(&format!(
        "times first {first} systemd {systemd} runs {runs}"
    ))?;
    std::thread::sleep(IDLE);
    say(&format!("idle {}", memory()?))?;
    nix::unistd::sync();
    std::fs::write(DROP_CACHES, "3\n")?;
    std::thread::sleep(DROPPED);
    say(&format!("dropped {}", memory()?))
}

/// The kernel's log so far: microseconds, and the first line of each record's text.
fn records() -> std::io::Result<Vec<(u64, String)>> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(LOG)?;
    let mut buffer = [0; 8192];
    let mut found = Vec::new();
    loop {
        // Each read gives one record: `priority,number,microseconds,flags;text`.
        let n = match log.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(found),
            // The record was overwritten meanwhile: go on with the next.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => continue,
            Err(e) => return Err(e),
        };
        let text = String::from_utf8_lossy(&buffer[..n]);
        let Some((head, text)) = text.split_once(';') else {
            continue;
        };
        let at = head.split(',').nth(2).and_then(|at| at.parse().ok());
        let line = text.lines().next().unwrap_or_default();
        found.extend(at.map(|at| (at, line.to_owned())));
    }
}

/// `total KIB free KIB`.
fn memory() -> std::io::Result<String> {
    let mut text = String::new();
    File::open("/proc/meminfo")?.read_to_string(&mut text)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .unwrap_or("0")
    };
    Ok(format!(
        "total {} free {}",
        field("MemTotal:"),
        field("MemFree:")
    ))
}
