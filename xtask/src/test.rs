//! `test`: format, lints, dependencies and the crates' own tests on this machine, then machines in
//! QEMU. It goes on after a failure, and ends with what passed and what failed.
//!
//! It never boots a machine for the area `host`.

use crate::check::Tally;
use crate::{Outcome, build, place, progress, run};
use std::process::Command;

/// Test programs of `qemu-tests/tests` by area.
const MACHINES: [(&str, &[&str]); 4] = [
    (
        "boot",
        &[
            "boot",
            "budgets",
            "image",
            "misbehave",
            "privilege",
            "state",
            "faults",
            "config",
            "ssh",
        ],
    ),
    ("oci", &["oci_breakouts"]),
    (
        "engine",
        &[
            "fixtures",
            "engine",
            "docker",
            "pull",
            "isolation",
            "limits",
            "handover",
            "exits",
            "crash_points",
            "systemctl",
        ],
    ),
    ("updates", &["updates"]),
];

/// Runs these areas.
pub fn run(areas: &[String]) -> Outcome<()> {
    let mut tally = Tally::default();
    let wanted = |area: &str| areas.iter().any(|a| a == area);
    if wanted("host") {
        host(&mut tally)?;
    }
    if MACHINES.iter().any(|(area, _)| wanted(area)) {
        run::prepare(&["vm", "test"])?;
    }
    if wanted("oci") {
        build::mutant()?;
    }
    for (area, programs) in MACHINES {
        if wanted(area) {
            machines(&mut tally, area, programs)?;
        }
    }
    println!("\n{tally}");
    if tally.failed == 0 {
        println!("Next: cargo xtask run");
        return Ok(());
    }
    let kept = place::target().join("qemu-artifacts");
    Err(format!(
        "not everything passed; artefacts of failed machines: {}",
        kept.display()
    ))
}

fn host(tally: &mut Tally) -> Outcome<()> {
    crate::packages::install()?;
    one(tally, "format", build::cargo(&["fmt", "--all", "--check"]))?;
    let lints = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--features",
        "qemu-tests/qemu,image/publish,updater/libostree",
        "--",
        "-D",
        "warnings",
    ];
    one(tally, "lints", build::cargo(&lints))?;
    dependencies(tally)?;
    let libostree = "image/publish,updater/libostree";
    let arguments = [
        "test",
        "--workspace",
        "--features",
        libostree,
        "--no-fail-fast",
    ];
    many(tally, "tests on this machine", build::cargo(&arguments))
}

fn machines(tally: &mut Tally, area: &str, programs: &[&str]) -> Outcome<()> {
    let mut command = build::cargo(&[
        "test",
        "-p",
        "qemu-tests",
        "--features",
        "qemu",
        "--no-fail-fast",
    ]);
    for program in programs {
        command.args(["--test", program]);
    }
    command.env("RUST_BACKTRACE", "0");
    // Each machine has one virtual processor; two at a time fill the two cores that are promised.
    command.args(["--", "--test-threads=2"]);
    many(tally, &format!("machines: {area}"), command)
}

/// Licences, bans and sources of the dependencies, by cargo-deny.
fn dependencies(tally: &mut Tally) -> Outcome<()> {
    let tools = place::target().join("tools");
    let there = build::cargo(&["deny", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) && !tools.join("bin").exists() {
        let mut install = build::cargo(&["install", "--locked", "cargo-deny", "--root"]);
        install
            .arg(&tools)
            .env("CARGO_TARGET_DIR", tools.join("build"));
        if let Err(error) = progress::quietly("build cargo-deny, once", &mut install) {
            println!("{error}\nby hand: cargo install --locked cargo-deny");
            tally.check("dependencies (no cargo-deny)", false);
            return Ok(());
        }
        let _ = std::fs::remove_dir_all(tools.join("build"));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut check = build::cargo(&["deny", "check", "bans", "licenses", "sources"]);
    check.env("PATH", format!("{path}:{}", tools.join("bin").display()));
    one(tally, "dependencies", check)
}

fn one(tally: &mut Tally, name: &str, mut command: Command) -> Outcome<()> {
    let good = progress::loudly(name, &mut command, |_| {})?;
    tally.check(name, good);
    Ok(())
}

fn many(tally: &mut Tally, name: &str, mut command: Command) -> Outcome<()> {
    let mut counted = Tally::default();
    let good = progress::loudly(name, &mut command, |line| counted.line(line))?;
    tally.add(name, counted, good);
    Ok(())
}
