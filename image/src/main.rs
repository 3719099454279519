//! `image`: the command line of the image builder.
//!
//! Only turns the outcome into an exit code; what the commands do lies in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match image::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("image: {}", image::cli::words(&error));
            ExitCode::FAILURE
        }
    }
}
