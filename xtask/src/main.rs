//! `cargo xtask`: builds, runs and tests Skeg from a clean clone.
//!
//! It has no dependencies, so that it starts in seconds; what is heavy are programs that it starts.

mod arguments;
mod bench;
mod build;
mod check;
mod packages;
mod place;
mod progress;
mod run;
mod soak;
mod test;

use arguments::Command;
use std::process::ExitCode;

/// Why a command failed, in words for a person, and what to do next.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments::parse(&words) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        Command::Help => {
            println!("{}", arguments::USAGE);
            Ok(())
        }
        Command::Run { check } => run::run(check),
        Command::Image => run::image(),
        Command::Test { areas } => test::run(&areas),
        Command::Bench { name, quick } => bench::run(&name, quick),
        Command::Sim(arguments) => run::sim(&arguments),
        Command::Soak { name } => soak::run(name.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
