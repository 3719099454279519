//! `soak`: long matrices, in rounds. A soak that was interrupted goes on where it stopped, and no
//! call starts a round after [`LIMIT`].
//!
//! It keeps no statistics but the count of rounds passed on this commit: a failure's artefacts say
//! the rest.

use crate::{Outcome, build, place, progress, run};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// No round starts later, so that a call ends within an hour.
const LIMIT: Duration = Duration::from_secs(55 * 60);

/// One matrix.
struct Soak {
    name: &'static str,
    /// How often the test has to pass.
    rounds: u32,
    /// A part of the test's name.
    test: &'static str,
    /// Whether it boots machines; else it is a long test of this machine.
    machines: bool,
    /// Whether it is too long for `cargo xtask test`.
    long: bool,
    /// Whether it is the fleet's, on a real etcd.
    fleet: bool,
}

const SOAKS: [Soak; 8] = [
    Soak {
        name: "reboots",
        rounds: 20,
        test: "survive_a_reboot",
        machines: true,
        long: false,
        fleet: false,
    },
    Soak {
        name: "kills",
        rounds: 20,
        test: "engine_stops_no_container",
        machines: true,
        long: false,
        fleet: false,
    },
    Soak {
        name: "power",
        rounds: 20,
        test: "the_power_button",
        machines: true,
        long: false,
        fleet: false,
    },
    Soak {
        name: "writers",
        rounds: 4,
        test: "twenty_writers",
        machines: true,
        long: true,
        fleet: false,
    },
    Soak {
        name: "exits",
        rounds: 5,
        test: "of_two_thousand_ends",
        machines: true,
        long: true,
        fleet: false,
    },
    Soak {
        name: "lease",
        rounds: 1,
        test: "lease_is_renewed",
        machines: false,
        long: true,
        fleet: false,
    },
    Soak {
        name: "fleet-kills",
        rounds: 1,
        test: "three_hundred_kills",
        machines: false,
        long: true,
        fleet: true,
    },
    Soak {
        name: "fleet-hang",
        rounds: 1,
        test: "stopped_for_a_minute",
        machines: false,
        long: true,
        fleet: true,
    },
];

/// The names of all soaks.
pub fn names() -> Vec<&'static str> {
    SOAKS.iter().map(|soak| soak.name).collect()
}

/// Runs one soak, or all.
pub fn run(name: Option<&str>) -> Outcome<()> {
    let chosen = |soak: &&Soak| name.is_none_or(|name| name == soak.name);
    let soaks: Vec<&Soak> = SOAKS.iter().filter(chosen).collect();
    if soaks.is_empty() {
        return Err(format!("`soak` knows {}", names().join(", ")));
    }
    let start = Instant::now();
    if soaks.iter().any(|soak| soak.machines) {
        run::prepare(&["vm", "test"])?;
    } else {
        crate::packages::install()?;
    }
    let commit = commit();
    for soak in soaks {
        rounds(soak, &commit, start)?;
    }
    Ok(())
}

fn rounds(soak: &Soak, commit: &str, start: Instant) -> Outcome<()> {
    let (name, of) = (soak.name, soak.rounds);
    let memory = place::target().join("soak").join(name);
    let mut passed = remembered(&fs::read_to_string(&memory).unwrap_or_default(), commit).min(of);
    while passed < of {
        if start.elapsed() > LIMIT {
            println!("soak {name}: {passed} of {of} rounds passed, time is up");
            println!("Next: cargo xtask soak {name}, which goes on from there");
            return Ok(());
        }
        round(soak, passed + 1)?;
        passed += 1;
        remember(&memory, passed, commit)?;
    }
    println!("soak {name}: {passed} of {of} rounds passed, 0 failed");
    let _ = fs::remove_file(&memory);
    Ok(())
}

fn round(soak: &Soak, number: u32) -> Outcome<()> {
    let (name, of) = (soak.name, soak.rounds);
    let mut ran = 0;
    let what = format!("soak {name}, round {number} of {of}");
    let good = progress::loudly(&what, &mut command(soak), |line| ran += passed(line))?;
    if !good {
        return Err(format!(
            "soak {name}: round {number} of {of} failed; artefacts: {}",
            place::target().join("qemu-artifacts").display()
        ));
    }
    if ran == 0 {
        return Err(format!(
            "soak {name}: no test has `{}` in its name",
            soak.test
        ));
    }
    Ok(())
}

fn command(soak: &Soak) -> Command {
    let package: &[&str] = match (soak.machines, soak.long) {
        (true, false) => &["-p", "qemu-tests", "--features", "qemu"],
        (true, true) => &["-p", "qemu-tests", "--features", "soak"],
        (false, _) if soak.fleet => &["-p", "fleet", "--test", "edges"],
        (false, _) => &["-p", "runtime", "--features", "soak", "--tests"],
    };
    let mut command = build::cargo(&["test", "--quiet"]);
    command.args(package).arg(soak.test);
    // What was measured is shown.
    command.args(["--", "--nocapture"]);
    if soak.fleet {
        command.arg("--ignored");
    }
    command
}

fn passed(line: &str) -> u32 {
    let rest = line.strip_prefix("test result: ok. ");
    let number = rest.and_then(|rest| rest.split(' ').next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn commit() -> String {
    let mut git = Command::new("git");
    let head = git
        .args(["rev-parse", "HEAD"])
        .current_dir(place::workspace());
    let output = head.output().map(|output| output.stdout);
    let text = String::from_utf8(output.unwrap_or_default());
    text.unwrap_or_default().trim().to_owned()
}

/// Rounds that passed on this commit, from `COUNT COMMIT`; rounds of another commit prove nothing.
fn remembered(text: &str, commit: &str) -> u32 {
    match text.trim().split_once(' ') {
        Some((count, of)) if of == commit => count.parse().unwrap_or(0),
        _ => 0,
    }
}

fn remember(memory: &PathBuf, passed: u32, commit: &str) -> Outcome<()> {
    let failed = |e: std::io::Error| format!("write {}: {e}", memory.display());
    if let Some(folder) = memory.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(memory, format!("{passed} {commit}\n")).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_goes_on_only_on_the_same_commit() {
        assert_eq!(remembered("7 abc\n", "abc"), 7);
        assert_eq!(remembered("7 abc\n", "abd"), 0);
        assert_eq!(remembered("", "abc"), 0);
        assert_eq!(remembered("x abc", "abc"), 0);
    }

    #[test]
    fn rounds_in_which_no_test_ran_are_told_apart() {
        assert_eq!(passed("test result: ok. 1 passed; 0 failed"), 1);
        assert_eq!(passed("test result: FAILED. 0 passed; 1 failed"), 0);
    }
}
