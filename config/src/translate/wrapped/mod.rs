//! A `.service` that only wraps `docker run` or `podman run` becomes a Quadlet `.container`.
//!
//! What cannot be said in a Quadlet is refused with its line: half a translation would run something else.

mod command;

use formats::unit_file::{self, words};
use std::fmt::Write;

/// What came of a service.
#[derive(Debug)]
pub struct Made {
    /// The Quadlet's text.
    pub text: String,
    /// What was left out since it has nothing to do here.
    pub notes: Vec<String>,
}

type Problems = Vec<(usize, String)>;

/// Keys of `[Service]` that a Quadlet has too.
const KEPT: [&str; 5] = [
    "Restart",
    "RestartSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutSec",
];
/// Keys that only say how systemd watches the client of the engine.
const LEFT_OUT: [&str; 9] = [
    "Type",
    "KillMode",
    "NotifyAccess",
    "StandardOutput",
    "StandardError",
    "SyslogIdentifier",
    "PIDFile",
    "Delegate",
    "TasksMax",
];
/// Units that are the engine elsewhere.
const ENGINES: [&str; 5] = [
    "docker.service",
    "docker.socket",
    "podman.service",
    "podman.socket",
    "containerd.service",
];

/// Translates; `enabled` keeps the `[Install]` section.
///
/// # Errors
/// What has no counterpart, each with its line.
pub fn translate(name: &str, text: &str, enabled: bool) -> Result<Made, Problems> {
    let (entries, problems) = unit_file::parse(text);
    let mut problems: Problems = problems.into_iter().map(|p| (p.line, p.message)).collect();
    let (mut unit, mut service, mut install) = (String::new(), String::new(), String::new());
    let mut container = None;
    let mut notes = Vec::new();
    for entry in &entries {
        let (key, value) = (entry.key.as_str(), entry.value.as_str());
        let mut refuse = |text: String| problems.push((entry.line, text));
        match (entry.section.as_str(), key) {
            ("Unit", "After" | "Requires" | "Wants" | "BindsTo" | "PartOf") => {
                dependency(&mut unit, key, value);
            }
            ("Unit", _) => line(&mut unit, key, value),
            ("Install", _) => line(&mut install, key, value),
            ("Service", "ExecStart") if container.is_some() => {
                refuse("a second ExecStart=".to_owned());
            }
            ("Service", "ExecStart") => match run(name, value) {
                Ok(made) => {
                    notes.extend(made.notes);
                    container = Some(made.text);
                }
                Err(text) => refuse(text),
            },
            ("Service", "ExecStartPre" | "ExecStop" | "ExecStopPost") => {
                if let Err(text) = housekeeping(value) {
                    refuse(format!("{key}={text}"));
                }
            }
            ("Service", key) if KEPT.contains(&key) => line(&mut service, key, value),
            ("Service", key) if LEFT_OUT.contains(&key) => {}
            ("Service", key) => refuse(format!("{key}= has no counterpart in a Quadlet")),
            (section, _) => refuse(format!("[{section}] has no counterpart in a Quadlet")),
        }
    }
    let Some(container) = container.filter(|_| problems.is_empty()) else {
        if problems.is_empty() {
            problems.push((0, "it has no ExecStart= that runs a container".to_owned()));
        }
        return Err(problems);
    };
    let mut text = format!("# Made from {name}.\n");
    section(&mut text, "Unit", &unit);
    section(&mut text, "Container", &container);
    section(&mut text, "Service", &service);
    if enabled {
        section(&mut text, "Install", &install);
    }
    if enabled && install.is_empty() {
        notes.push("enabled has no effect: it has no [Install] section".to_owned());
    }
    Ok(Made { text, notes })
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key}={value}");
}

fn section(text: &mut String, name: &str, lines: &str) {
    if !lines.is_empty() {
        let _ = write!(text, "[{name}]\n{lines}");
    }
}

fn dependency(text: &mut String, key: &str, value: &str) {
    let names = value
        .split_whitespace()
        .filter(|name| !ENGINES.contains(name));
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        line(text, key, &names.join(" "));
    }
}

/// The words of a command, without systemd's prefixes, and whether its failure counts.
fn command_words(value: &str) -> Result<Vec<String>, String> {
    let value = value.trim_start_matches(['-', '@', ':', '+', '!']);
    words::split(value)
}

fn is_client(program: &str) -> bool {
    ["docker", "podman"].contains(&program.rsplit('/').next().unwrap_or_default())
}

fn run(unit: &str, value: &str) -> Result<Made, String> {
    let words = command_words(value)?;
    let expanded: Result<Vec<String>, String> = words.iter().map(|w| expand(unit, w)).collect();
    let words = expanded?;
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return Err("a word has a control character".to_owned());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [program, "run", rest @ ..] | [program, "container", "run", rest @ ..]
            if is_client(program) =>
        {
            command::translate(rest)
        }
        _ => Err("it runs a program of the host, and this host has none: expected docker run or podman run".to_owned()),
    }
}

/// systemd's specifiers for the unit's name; variables are not known here.
fn expand(unit: &str, word: &str) -> Result<String, String> {
    let stem = unit.trim_end_matches(".service");
    let mut text = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%' || c == '$') {
            (_, false) => text.push(c),
            (sign, true) => match (sign, chars.next()) {
                ('%', Some('n')) => text += unit,
                ('%', Some('N' | 'p')) => text += stem,
                ('%', Some('%')) => text.push('%'),
                ('$', Some('$')) => text.push('$'),
                // Never the word: it may be a secret.
                _ => {
                    let text =
                        format!("a {sign} begins what is not known here: write {sign}{sign}");
                    return Err(text);
                }
            },
        }
    }
    Ok(text)
}

/// Commands that only clear the way for the container, or stop it: the engine does that by itself.
fn housekeeping(value: &str) -> Result<(), String> {
    let words = command_words(value)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = ["kill", "stop", "rm", "pull"];
    match words.as_slice() {
        [] => Ok(()),
        [program, verb, ..] if is_client(program) && known.contains(verb) => Ok(()),
        _ => Err(" runs a program of the host, and this host has none".to_owned()),
    }
}
