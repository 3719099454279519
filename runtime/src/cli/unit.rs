//! `skeg unit check`: what is wrong with unit files, on any host, without an engine.

use super::args::Unit as Command;
use super::error::CliError;
use crate::unit::load;

/// Prints every problem on its own line, `FILE:LINE: …`; ends with 1 if there is one.
pub fn check(command: &Command) -> Result<u8, CliError> {
    let Command::Check { files } = command;
    let mut code = 0;
    for path in files {
        if let Err(error) = load::file(path) {
            for line in error.to_string().lines() {
                eprintln!("skeg: error: {line}");
            }
            code = 1;
        }
    }
    Ok(code)
}
