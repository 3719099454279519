//! What the command line asks for.
//!
//! Anything unknown is an error that names what is known; nothing is guessed.

/// What `cargo xtask help` says.
pub const USAGE: &str = "\
Builds, runs and tests Skeg.

Usage: cargo xtask COMMAND

  run [--check]    install what is needed, build, boot in QEMU, run a web server in a container,
                   show its page and stay at the console; --check ends once the page was served
  test [AREA…]     all tests, or those of the areas: host, boot, oci, engine, updates
  image            build the images of both profiles into target/image/
  soak [NAME]      long matrices, resumable, an hour at most: reboots, kills, power, writers, exits, lease,
                   fleet-kills, fleet-hang
  bench NAME [--quick]
                   Skeg and its peer side by side: boot; resumable, half an hour the first time
  sim [--seeds N] [--from SEED] …
                   the fleet's simulator over seeds; `sim --help` has the rest
  help             this text";

/// The areas of `test`, in the order in which they run.
pub const AREAS: [&str; 5] = ["host", "boot", "oci", "engine", "updates"];

/// What `bench` measures.
pub const BENCHES: [&str; 2] = ["boot", "fleet"];

/// A command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Show the usage.
    Help,
    /// The demo.
    Run {
        /// End once the page was served.
        check: bool,
    },
    /// The tests of these areas.
    Test {
        /// At least one of [`AREAS`].
        areas: Vec<String>,
    },
    /// Repeat a test.
    Soak {
        /// Its name.
        name: Option<String>,
    },
    /// The fleet's simulator, with its own arguments.
    Sim(Vec<String>),
    /// Measure Skeg and its peer.
    Bench {
        /// One of [`BENCHES`].
        name: String,
        /// Less of it, in a few minutes.
        quick: bool,
    },
    /// Only the images.
    Image,
}

/// Reads the words after `cargo xtask`.
///
/// # Errors
/// An unknown word, with the known ones.
pub fn parse(words: &[String]) -> Result<Command, String> {
    let Some((command, rest)) = words.split_first() else {
        return Ok(Command::Help);
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match command.as_str() {
        "help" | "--help" | "-h" => Ok(Command::Help),
        "sim" => Ok(Command::Sim(rest.iter().map(ToString::to_string).collect())),
        _ if rest.contains(&"--help") => Ok(Command::Help),
        "run" => parse_run(&rest),
        "test" => parse_areas(&rest),
        "soak" => parse_soak(&rest),
        "bench" => parse_bench(&rest),
        "image" => nothing_after("image", &rest).map(|()| Command::Image),
        other => Err(format!(
            "unknown command `{other}`; known: run, test, image, soak, bench, sim, help"
        )),
    }
}

fn parse_run(rest: &[&str]) -> Result<Command, String> {
    match rest {
        [] => Ok(Command::Run { check: false }),
        ["--check"] => Ok(Command::Run { check: true }),
        [other, ..] => Err(format!("`run` knows --check, not `{other}`")),
    }
}

fn parse_areas(rest: &[&str]) -> Result<Command, String> {
    if let Some(unknown) = rest.iter().find(|area| !AREAS.contains(area)) {
        return Err(format!(
            "`test` knows the areas {}, not `{unknown}`",
            AREAS.join(", ")
        ));
    }
    let wanted = |area: &&str| rest.is_empty() || rest.contains(area);
    let areas = AREAS.iter().filter(|area| wanted(area));
    Ok(Command::Test {
        areas: areas.map(ToString::to_string).collect(),
    })
}

fn parse_soak(rest: &[&str]) -> Result<Command, String> {
    match rest {
        [] => Ok(Command::Soak { name: None }),
        [name] if !name.starts_with('-') => Ok(Command::Soak {
            name: Some((*name).to_owned()),
        }),
        [other, ..] => Err(format!("`soak` takes one test's name, not `{other}`")),
    }
}

fn parse_bench(rest: &[&str]) -> Result<Command, String> {
    let known = BENCHES.join(", ");
    let (name, quick) = match rest {
        [name] => (*name, false),
        [name, "--quick"] => (*name, true),
        [_, other, ..] => return Err(format!("`bench` knows --quick, not `{other}`")),
        [] => return Err(format!("`bench` wants one of: {known}")),
    };
    if !BENCHES.contains(&name) {
        return Err(format!("`bench` knows {known}, not `{name}`"));
    }
    Ok(Command::Bench {
        name: name.to_owned(),
        quick,
    })
}

fn nothing_after(command: &str, rest: &[&str]) -> Result<(), String> {
    match rest.first() {
        None => Ok(()),
        Some(other) => Err(format!("`{command}` takes nothing, not `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn what_is_known_is_understood() {
        assert_eq!(parse_line(""), Ok(Command::Help));
        assert_eq!(parse_line("run --check"), Ok(Command::Run { check: true }));
        let areas = vec!["host".to_owned(), "engine".to_owned()];
        assert_eq!(parse_line("test engine host"), Ok(Command::Test { areas }));
        assert_eq!(parse_line("run --help"), Ok(Command::Help));
    }

    #[test]
    fn what_is_unknown_is_named_beside_what_is_known() {
        let cases = [
            ("rnu", "run, test"),
            ("run --chekc", "--check"),
            ("test flete", "host, boot, oci, engine, updates"),
            ("image x", "`x`"),
            ("soak --fast", "--fast"),
            ("bench", "boot"),
            ("bench bot", "boot"),
            ("bench boot --fast", "--quick"),
        ];
        for (line, hint) in cases {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
