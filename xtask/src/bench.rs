//! `bench`: builds what benchmarks need and starts them.
//!
//! What measures is the program `skeg-bench`; a measure is kept until what it measures changes.

use crate::{Outcome, build, packages, place, run};
use std::process::Command;

/// One benchmark.
pub fn run(name: &str, quick: bool) -> Outcome<()> {
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
