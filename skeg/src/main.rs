//! The multi-call binary: daemons and the command line, one file on the image.
//!
//! Dispatch only: everything it does stands in the crates it calls.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::main(std::env::args_os())
}
