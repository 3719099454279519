//! `skeg fleet` as a program of its own, for hosts that are no Skeg.
//!
//! Dispatch only.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleet::cli::main(std::env::args_os())
}
