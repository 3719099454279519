//! `skeg oci`, also callable as `skeg-oci`: the command line of an OCI runtime, as crun and runc have it.
//!
//! Short-lived and single-threaded; it needs no daemon, no zygote and not Skeg below it. What a
//! container is made of is decided and done in [`crate::container`], as for the engine.

mod args;
mod bundle;
mod clone;
mod create;
mod delete;
mod error;
mod events;
mod exec;
mod features;
mod hooks;
mod kill;
mod limits;
mod log;
mod maps;
mod nodes;
mod place;
mod prepare;
mod query;
mod relay;
mod sealed;
mod state;
mod template;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use error::Error;

/// Runs the program with its arguments, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let log = log::Log::open(&cli.global);
    match dispatch(&cli, &log) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log.error(&error.to_string());
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(cli: &Cli, log: &log::Log) -> Result<u8, Error> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Create(options) => create::create(global, options, log).map(|()| 0),
        Verb::Run(options) => create::run(global, options, log),
        Verb::Start { id } => create::start(global, id, log).map(|()| 0),
        Verb::Exec(options) => exec::exec(global, options, log),
        Verb::Kill(options) => kill::kill(global, options).map(|()| 0),
        Verb::Delete(options) => delete::delete(global, options, log).map(|()| 0),
        Verb::State { id } => query::state(global, id).map(|()| 0),
        Verb::List(options) => query::list(global, options).map(|()| 0),
        Verb::Ps(options) => query::processes(global, options).map(|()| 0),
        Verb::Pause { id } => limits::freeze(global, id, true).map(|()| 0),
        Verb::Resume { id } => limits::freeze(global, id, false).map(|()| 0),
        Verb::Update(options) => limits::update(global, options).map(|()| 0),
        Verb::Events(options) => events::events(global, options).map(|()| 0),
        Verb::Features => features::print().map(|()| 0),
        Verb::Spec(options) => template::write(options).map(|()| 0),
    }
}

/// Help goes to standard output and succeeds; a mistake is told on standard error.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if error.kind() == ErrorKind::DisplayVersion {
        print!("{}", features::version());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelp {
        print!("{}", error.render());
        return ExitCode::SUCCESS;
    }
    eprint!("{}", error.render());
    ExitCode::FAILURE
}
