//! The benchmarks behind `cargo xtask bench`.
//!
//! It builds nothing of Skeg; `cargo xtask bench` has done that before.

use qemu_tests::bench::boot::{self, Extent};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["boot", probe] => boot::run(Path::new(probe), Extent::Whole),
        ["boot", probe, "--quick"] => boot::run(Path::new(probe), Extent::Quick),
        _ => {
            eprintln!("usage: skeg-bench boot PROBE [--quick]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
