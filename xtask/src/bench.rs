//! `bench`: builds what benchmarks need and starts them.
//!
//! What measures is the program `skeg-bench`; a measure is kept until what it measures changes.

use crate::{Outcome, build, packages, place, run};
use std::process::Command;

/// One benchmark.
pub fn run(name: &str, quick: bool) -> Outcome<()> {
    if name == "fleet" {
        return fleet(quick);
    }
    packages::install_for_benchmarks()?;
    run::prepare(&["vm"])?;
    build::probe()?;
    let mut bench = Command::new(place::host_program("skeg-bench"));
    bench
        .arg(name)
        .arg(place::guest_program(place::release(), "skeg-probe"))
        .current_dir(place::workspace());
    if quick {
        bench.arg("--quick");
    }
    let status = bench
        .status()
        .map_err(|e| format!("start skeg-bench: {e}"))?;
    if !status.success() {
        return Err(format!(
            "bench {name} stopped; the reason stands above. What was measured is kept: \
             cargo xtask bench {name} goes on from there"
        ));
    }
    println!("\nNext: docs/BENCH.md says how this was measured; cargo xtask run");
    Ok(())
}

/// The fleet's, on a real etcd: a test of its edges, built as it is released.
fn fleet(quick: bool) -> Outcome<()> {
    packages::install()?;
    let mut bench = build::cargo(&[
        "test",
        "--release",
        "--quiet",
        "-p",
        "fleet",
        "--test",
        "edges",
    ]);
    bench.args(["--", "--ignored", "--exact", "bench::bench", "--nocapture"]);
    if quick {
        bench.env("QUICK", "1");
    }
    let status = bench.status().map_err(|e| format!("start cargo: {e}"))?;
    if !status.success() {
        return Err("bench fleet stopped; the reason stands above".to_owned());
    }
    println!("\nNext: docs/BENCH.md says how this was measured");
    Ok(())
}
