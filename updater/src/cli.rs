//! `skeg update …`: asks the daemon over its socket, and prints.
//!
//! It keeps no state and touches no disk.

use crate::daemon::told;
use clap::{Parser, Subcommand};
use formats::update::{Entry, Outcome, Progress, Reply, Request, Status};
use formats::version::Version;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Updates this host: a release is tried, and kept only if the units that ran before run again.
#[derive(Debug, Parser)]
#[command(
    name = "skeg update",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the running release, the slots, and where an update stands
    Status {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for a release now
    Check,
    /// Fetch and write what was found, whatever the strategy says
    Apply,
    /// Boot what is staged, on trial
    Reboot,
    /// Deny the release that runs, and boot the one before
    Rollback,
    /// Hold the host at a release, or no longer
    Pin {
        /// The release; none: no longer
        version: Option<Version>,
    },
    /// Show what happened to releases
    History {
        /// As one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop what was found or staged
    Cancel,
}

/// Runs `skeg update` with its arguments, the program's name first.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    match run(&cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("skeg update: error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<(), String> {
    let (request, json) = match verb {
        Verb::Status { json } => (Request::Status, *json),
        Verb::History { json } => (Request::History, *json),
        Verb::Check => (Request::Check, false),
        Verb::Apply => (Request::Apply, false),
        Verb::Reboot => (Request::Reboot, false),
        Verb::Rollback => (Request::Rollback, false),
        Verb::Pin { version } => (Request::Pin { version: *version }, false),
        Verb::Cancel => (Request::Cancel, false),
    };
    let path = formats::paths::UPDATE_SOCKET;
    let absent = |e: std::io::Error| {
        format!(
            "no updater answers at {path} ({e}); it runs only where {} says so",
            formats::update::CONFIG
        )
    };
    let mut stream = UnixStream::connect(path).map_err(absent)?;
    let line = serde_json::to_string(&request).map_err(|e| e.to_string())?;
    writeln!(stream, "{line}").map_err(|e| e.to_string())?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|e| format!("read from the updater: {e}"))?;
        match serde_json::from_slice(line.as_bytes())
            .map_err(|e| format!("the updater answered {line}: {e}"))?
        {
            Reply::Progress(progress) => {
                show_progress(progress);
                continue;
            }
            Reply::Refused { text } => return Err(text),
            _ if json => println!("{line}"),
            Reply::Done { text } => println!("{text}"),
            Reply::Status(status) => print!("{}", show_status(&status)),
            Reply::History { entries } => {
                entries
                    .iter()
                    .for_each(|entry| println!("{}", show_entry(entry)));
            }
        }
        return Ok(());
    }
    Err("the updater ended without an answer".into())
}

fn show_progress(progress: Progress) {
    let end = if std::io::stderr().is_terminal() {
        '\r'
    } else {
        '\n'
    };
    let mib = |bytes: u64| bytes >> 20;
    eprint!(
        "{} of {} MiB, {} MiB fetched, {} MiB/s{end}",
        mib(progress.done),
        mib(progress.total),
        mib(progress.fetched),
        mib(progress.rate),
    );
}

fn show_status(status: &Status) -> String {
    let mut text = format!(
        "running  {}\nupdate   {}\n",
        status.running,
        told(&status.phase)
    );
    if let Some(why) = &status.waits {
        text += &format!("waits    {why}\n");
    }
    if let Some(version) = status.pinned {
        text += &format!("held     at {version}\n");
    }
    for (n, slot) in status.slots.iter().enumerate() {
        text += &format!("{}  {slot}\n", if n == 0 { "slots  " } else { "       " });
    }
    if let Some(problem) = &status.problem {
        text += &format!("problem  {problem}\n");
    }
    text
}

fn show_entry(entry: &Entry) -> String {
    let outcome = match entry.outcome {
        Outcome::Staged => "staged",
        Outcome::NotStaged => "not staged",
        Outcome::Good => "good",
        Outcome::RolledBack => "rolled back",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Cancelled => "cancelled",
    };
    let mut text = format!(
        "{}  {}  {outcome}: {}",
        date(entry.at_ns),
        entry.version,
        entry.detail
    );
    for line in &entry.lines {
        text += &format!("\n    {line}");
    }
    text
}

/// UTC, to the second (the civil calendar from days, as in Hinnant's `civil_from_days`).
fn date(at_ns: u64) -> String {
    let seconds = at_ns / 1_000_000_000;
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::update::Phase;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_827_696 * 1_000_000_000), "2000-02-29T12:34:56Z");
        assert_eq!(date(1_798_761_599 * 1_000_000_000), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn a_person_sees_what_runs_and_what_is_next() {
        let version = "1.1.0".parse().unwrap();
        let text = show_status(&Status {
            running: "1.0.0".parse().unwrap(),
            phase: Phase::Staged { version },
            pinned: None,
            slots: vec!["skeg_1.1.0+3.efi".into(), "skeg_1.0.0.efi".into()],
            waits: Some("the next window opens in 3 h".into()),
            problem: None,
        });
        let expected = "running  1.0.0\nupdate   1.1.0 is staged: tried at the next boot\n\
                        waits    the next window opens in 3 h\nslots    skeg_1.1.0+3.efi\n         skeg_1.0.0.efi\n";
        assert_eq!(text, expected);
    }
}
