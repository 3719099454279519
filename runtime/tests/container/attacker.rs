//! The program inside the container that tries to get out, and says how far it came.
//!
//! It is the test's own program, started again in there; what it says is judged outside.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::ExitCode;

/// The script that has the runtime's own program run it (CVE-2019-5736).
pub const EXE_SCRIPT: &str = "/attack-exe";

/// Makes one attack and prints what came of it.
pub fn attack(kind: &str) -> ExitCode {
    let said = match kind {
        "calls" => calls(),
        "handle" => handle(),
        "chroot" => chroot(),
        "abstract" => abstract_socket(),
        "descriptors" => descriptors(),
        "exe" => exe(),
        "watch" => watch(),
        other => format!("no attack {other}"),
    };
    println!("{said}");
    ExitCode::SUCCESS
}

/// Which of the dangerous calls the filter lets through.
fn calls() -> String {
    let calls = sys::probe::dangerous_calls();
    let open = calls.iter().filter(|(_, errno)| *errno != not_permitted());
    format!("through: {:?} of {}", open.collect::<Vec<_>>(), calls.len())
}

fn not_permitted() -> i32 {
    rustix::io::Errno::PERM.raw_os_error()
}

/// Shocker: the root inode of the host's file system, from a file that is mounted from there.
fn handle() -> String {
    let mounted = File::open("/attacker").unwrap();
    match sys::probe::open_by_inode(mounted.as_fd(), 2) {
        Ok(_) => "opened".into(),
        Err(error) => format!("refused: {error}"),
    }
}

/// Out of the root by a second chroot: what is above it then.
fn chroot() -> String {
    std::fs::create_dir_all("/deeper").unwrap();
    let above = File::open("/").unwrap();
    rustix::process::chroot("/deeper").unwrap();
    rustix::process::fchdir(&above).unwrap();
    for _ in 0..64 {
        rustix::process::chdir("..").unwrap();
    }
    rustix::process::chroot(".").unwrap();
    let names = std::fs::read_dir("/").unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.join(" ")
}

/// A socket of the host's in the abstract name space, which no mount hides (CVE-2020-15257).
fn abstract_socket() -> String {
    let address = SocketAddr::from_abstract_name(b"skeg-test-host").unwrap();
    match UnixStream::connect_addr(&address) {
        Ok(_) => "connected".into(),
        Err(error) => format!("refused: {error}"),
    }
}

/// What every open descriptor leads to.
fn descriptors() -> String {
    let mut said = String::new();
    for number in 0..1024 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            let _ = write!(said, "{number}={} ", target.display());
        }
    }
    said
}

/// Looks at every process that comes by until `/stop` is there: how many, and what those had that have more
/// rights than this one.
fn watch() -> String {
    let rights = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let own = rights("self").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut stronger = std::collections::BTreeSet::new();
    File::create("/watching").unwrap();
    while !std::path::Path::new("/stop").exists() {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().into_string() else {
                continue;
            };
            let Some(has) = pid.parse::<u32>().ok().and_then(|_| rights(&pid)) else {
                continue;
            };
            if has & !own != 0 {
                stronger.insert(format!("{pid}: {has:x}"));
            }
            seen.insert(pid);
        }
    }
    let some = if seen.len() > 1 { "some" } else { "none" };
    format!("seen: {some}; stronger: {stronger:?}")
}

/// The runtime's program, opened for writing through the process that is it.
fn exe() -> String {
    match OpenOptions::new().write(true).open("/proc/self/exe") {
        Ok(_) => "open for writing".into(),
        Err(error) => format!("refused: {error}"),
    }
}
