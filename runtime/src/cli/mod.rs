//! The command line of `skeg`.
//!
//! It parses, asks the engine over its socket, and prints. It keeps no state and touches no container
//! itself.

mod args;
mod boot;
mod client;
mod containers;
mod error;
mod host;
mod images;
mod journal;
mod logs;
mod run;
mod session;
mod table;
mod terminal;
mod unit;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Verb};
pub(crate) use client::socket;
use error::CliError;
pub(crate) use logs::rfc3339;

/// Runs the program with its arguments, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    restore_sigpipe();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(main) = named_daemon(&arguments) {
        return end(daemon(main()));
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    end(dispatch(cli.verb))
}

type Main = fn() -> anyhow::Result<()>;

/// A daemon is started without the parser, whose description of all commands would stay in its memory.
fn named_daemon(arguments: &[OsString]) -> Option<Main> {
    let [_, name] = arguments else { return None };
    match name.to_str()? {
        "engine" => Some(crate::engine::main),
        _ => None,
    }
}

fn end(outcome: Result<u8, CliError>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("skeg: error: {e}");
            ExitCode::from(e.code)
        }
    }
}

fn dispatch(verb: Verb) -> Result<u8, CliError> {
    match verb {
        Verb::Engine => daemon(crate::engine::main()),
        Verb::Unit(command) => unit::check(&command),
        Verb::Boot(options) => boot::show(&options),
        other => user_verb(other),
    }
}

fn daemon(outcome: anyhow::Result<()>) -> Result<u8, CliError> {
    outcome.map(|()| 0).map_err(|e| CliError {
        message: format!("{e:#}"),
        code: 1,
    })
}

fn user_verb(verb: Verb) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::engine(format!("start the event loop: {e}")))?;
    runtime.block_on(async {
        match verb {
            Verb::Run(options) => run::run(*options).await,
            Verb::Ps(options) => containers::list(&options).await,
            Verb::Logs(options) => logs::show(&options).await,
            Verb::Exec(options) => run::exec(options).await,
            Verb::Start(options) => containers::start(&options).await,
            Verb::Stop(options) => containers::stop(&options).await,
            Verb::Restart(options) => containers::restart(&options).await,
            Verb::Kill(options) => containers::kill(&options).await,
            Verb::Rm(options) => containers::remove(&options).await,
            Verb::Wait(options) => containers::wait(&options).await,
            Verb::Inspect(options) => containers::inspect(&options).await,
            Verb::Pull(options) => images::pull(&options).await,
            Verb::Images(options) => images::list(&options).await,
            Verb::Rmi(options) => images::remove(&options).await,
            Verb::Volume(command) => images::volume(&command).await,
            Verb::Status(options) => host::status(&options).await,
            Verb::Version(options) => host::version(&options).await,
            Verb::Poweroff => host::power(formats::registration::Power::Off),
            Verb::Reboot => host::power(formats::registration::Power::Reboot),
            // Of another program in the same file, which took it before.
            Verb::Update { .. } => Err(CliError::engine("this program has no updater")),
            Verb::Config { .. } => Err(CliError::engine("this program reads no configuration")),
            _ => Ok(0),
        }
    })
}

/// Help goes to standard output; a mistake is one line, with what was meant and where to look.
fn usage(e: &clap::Error) -> ExitCode {
    let text = e.render().to_string();
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{text}");
        return ExitCode::from(2);
    }
    eprintln!("skeg: {}", mistake(&text));
    ExitCode::from(2)
}

fn mistake(text: &str) -> String {
    let mut parts = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let part = line.strip_prefix("tip: ").unwrap_or(line);
        if !part.starts_with("to pass ") {
            parts.push(part);
        }
    }
    let usage = text.lines().find_map(|l| l.strip_prefix("Usage: "));
    let program = usage
        .unwrap_or("skeg")
        .split_whitespace()
        .take_while(|w| w.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect::<Vec<_>>()
        .join(" ");
    format!("{} (see {program} --help)", parts.join("; "))
}

/// A reader that closes the pipe ends the program quietly, as with other tools.
fn restore_sigpipe() {
    sys::process::default_sigpipe();
}

#[cfg(test)]
mod tests;
