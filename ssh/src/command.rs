//! What a command line comes to: help, a command of `skeg`, Docker's API, or a refusal with what to do.
//!
//! Pure: it decides, and starts nothing.

use crate::people::Person;
use crate::words;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing was asked for.
    Nothing,
    /// Show what there is.
    Help,
    /// Run `skeg` with these arguments.
    Skeg(Vec<String>),
    /// Docker's API on standard input and output.
    Docker,
    /// Leave.
    Leave,
    /// Not here: why, and what instead.
    Refused(String),
}

/// `skeg`'s commands, for completion; `true` = for those too who may only look.
pub const VERBS: [(&str, bool); 25] = [
    ("boot", true),
    ("config", false),
    ("exec", false),
    ("exit", true),
    ("help", true),
    ("images", false),
    ("inspect", false),
    ("kill", false),
    ("logs", false),
    ("poweroff", false),
    ("ps", false),
    ("pull", false),
    ("reboot", false),
    ("restart", false),
    ("rm", false),
    ("rmi", false),
    ("run", false),
    ("start", false),
    ("status", true),
    ("stop", false),
    ("unit", false),
    ("update", false),
    ("version", true),
    ("volume", false),
    ("wait", false),
];

/// Daemons of the same program, and what would run as a daemon.
const DAEMONS: [&str; 6] = ["engine", "net", "zygote", "update-daemon", "oci", "fleet"];
/// Programs that people expect.
const SHELLS: [&str; 6] = ["sh", "bash", "/bin/sh", "/bin/bash", "sudo", "su"];

/// Decides on one command line.
#[must_use]
pub fn decide(line: &str, person: &Person) -> Action {
    let words = match words::split(line) {
        Ok(words) => words,
        Err(problem) => return Action::Refused(problem),
    };
    let all: Vec<&str> = words.iter().map(String::as_str).collect();
    match all.as_slice() {
        [] => Action::Nothing,
        ["docker", "system", "dial-stdio"] if person.is_admin => Action::Docker,
        ["docker", "system", "dial-stdio"] => Action::Refused(only_looking(person)),
        ["docker" | "podman", ..] => Action::Refused(
            "there is no docker here: use skeg's commands, or docker at home with DOCKER_HOST=ssh://USER@HOST".to_owned(),
        ),
        ["scp" | "rsync" | "sftp-server", ..] => Action::Refused(no_files()),
        [shell, ..] if SHELLS.contains(shell) => Action::Refused(
            "there is no shell here: write a command of skeg, \"help\" lists them; a shell of a container's is had by exec -it CONTAINER sh".to_owned(),
        ),
        ["skeg"] => Action::Help,
        ["skeg", rest @ ..] => of_skeg(rest, person),
        rest => of_skeg(rest, person),
    }
}

fn of_skeg(words: &[&str], person: &Person) -> Action {
    match words {
        ["help" | "--help" | "-h" | "?"] => Action::Help,
        ["help", verb] => of_skeg(&[verb, "--help"], person),
        ["exit" | "logout" | "quit", ..] => Action::Leave,
        ["config", "boot", ..] => Action::Refused("config boot is the host's own".to_owned()),
        [daemon, ..] if DAEMONS.contains(daemon) => Action::Refused(format!(
            "{daemon} is a daemon or of another program's: \"help\" lists what there is"
        )),
        [verb, ..]
            if !person.is_admin && !VERBS.contains(&(verb, true)) && *verb != "--version" =>
        {
            Action::Refused(only_looking(person))
        }
        words => Action::Skeg(words.iter().map(ToString::to_string).collect()),
    }
}

/// Why there is no SFTP.
#[must_use]
pub fn no_files() -> String {
    "there is no file transfer here: files come by the host's configuration or with a container's image; docker cp reaches into containers".to_owned()
}

fn only_looking(person: &Person) -> String {
    let verbs: Vec<&str> = VERBS
        .iter()
        .filter(|(_, look)| *look)
        .map(|(verb, _)| *verb)
        .collect();
    format!(
        "{} is no member of the group skeg and may only look: {}",
        person.name,
        verbs.join(", ")
    )
}

/// Verbs that go on from what was typed, of those that the person may use.
#[must_use]
pub fn completions(typed: &str, person: &Person) -> Vec<&'static str> {
    let fits = |(verb, look): &&(&'static str, bool)| {
        verb.starts_with(typed) && (*look || person.is_admin)
    };
    VERBS.iter().filter(fits).map(|(verb, _)| *verb).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn person(is_admin: bool) -> Person {
        Person {
            name: "ann".to_owned(),
            is_admin,
            grant: grant::parse(KEY).unwrap(),
        }
    }

    fn skeg(words: &[&str]) -> Action {
        Action::Skeg(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn commands_are_skeg_s_with_or_without_its_name() {
        let ann = person(true);
        for (line, expected) in [
            ("status", skeg(&["status"])),
            ("skeg logs -f web", skeg(&["logs", "-f", "web"])),
            (
                "exec -it web sh -c 'ls | wc'",
                skeg(&["exec", "-it", "web", "sh", "-c", "ls | wc"]),
            ),
            ("help run", skeg(&["run", "--help"])),
            ("skeg", Action::Help),
            ("help", Action::Help),
            ("   ", Action::Nothing),
            ("exit", Action::Leave),
            ("docker system dial-stdio", Action::Docker),
        ] {
            assert_eq!(decide(line, &ann), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_here_is_refused_by_name_with_what_to_do() {
        let ann = person(true);
        for (line, said) in [
            ("docker ps", "DOCKER_HOST=ssh://"),
            ("bash", "no shell"),
            ("/bin/sh -c ls", "no shell"),
            ("sudo skeg status", "no shell"),
            ("scp -t /tmp", "no file transfer"),
            ("engine", "daemon"),
            ("skeg config boot", "host's own"),
            ("ps | wc", "no shell"),
        ] {
            let Action::Refused(text) = decide(line, &ann) else {
                panic!("{line} was not refused");
            };
            assert!(text.contains(said), "{line}: {text}");
        }
    }

    #[test]
    fn who_may_only_look_gets_no_further() {
        let bob = person(false);
        assert_eq!(
            decide("status --format json", &bob),
            skeg(&["status", "--format", "json"])
        );
        assert_eq!(decide("boot", &bob), skeg(&["boot"]));
        for line in [
            "ps",
            "run x",
            "docker system dial-stdio",
            "skeg exec web sh",
            "reboot",
        ] {
            let Action::Refused(text) = decide(line, &bob) else {
                panic!("{line} was not refused");
            };
            assert!(text.contains("only look"), "{line}: {text}");
        }
    }

    #[test]
    fn what_is_typed_is_completed_by_what_one_may() {
        assert_eq!(
            completions("r", &person(true)),
            ["reboot", "restart", "rm", "rmi", "run"]
        );
        assert_eq!(completions("r", &person(false)), [""; 0]);
        assert_eq!(completions("st", &person(false)), ["status"]);
    }
}
