//! `run` and `image`: from a clean clone to a page from a container.
//!
//! What needs more than the standard library is in the program `skeg-demo`, which it starts last.

use crate::{Outcome, build, packages, place};
use std::process::Command;

/// The demo.
pub fn run(check: bool) -> Outcome<()> {
    prepare(&["vm"])?;
    let mut demo = Command::new(place::host_program("skeg-demo"));
    if check {
        demo.arg("--check");
    }
    let status = demo
        .current_dir(place::workspace())
        .status()
        .map_err(|e| format!("start skeg-demo: {e}"))?;
    if status.success() {
        let next = if check { "run" } else { "test" };
        println!("\nNext: cargo xtask {next}");
        Ok(())
    } else {
        Err("the demo failed; the reason stands above".to_owned())
    }
}

/// Both images.
pub fn image() -> Outcome<()> {
    prepare(&["vm", "test"])?;
    for profile in ["vm", "test"] {
        println!("  {profile:4} {}", place::image(profile).display());
    }
    println!("\nNext: cargo xtask run, or any QEMU with -kernel vmlinuz -initrd initrd.cpio");
    Ok(())
}

/// Packages, programs, images.
pub fn prepare(profiles: &[&str]) -> Outcome<()> {
    packages::install()?;
    build::host_tools()?;
    build::guest_programs(profiles)?;
    build::images(profiles)
}

/// The fleet's simulator.
pub fn sim(arguments: &[String]) -> Outcome<()> {
    let program = ["run", "--release", "-p", "fleet", "--features", "sim"];
    let mut command = build::cargo(&program);
    command.args(["--bin", "fleet-sim", "--"]).args(arguments);
    let good = command.status().map_err(|e| format!("start cargo: {e}"))?;
    if good.success() {
        return Ok(());
    }
    Err("the simulator found something: its last lines say how to run it again".into())
}
