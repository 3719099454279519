//! The words after `docker run`: options become keys of `[Container]`, then the image and its command.
//!
//! An option that is not in the table is refused by name.

use super::Made;
use std::fmt::Write;

/// What an option becomes.
#[derive(Clone, Copy)]
enum Becomes {
    /// This key, with the option's value.
    Key(&'static str),
    /// This line, if the option stands without value or with true.
    Line(&'static str),
    /// Nothing: it has a value and no effect here.
    NothingWithValue,
    /// Nothing, and it has no value.
    Nothing,
    /// `UID[:GID]`.
    User,
    /// `--security-opt`.
    Security,
}
use Becomes::{Key, Line, Nothing, NothingWithValue, Security, User};

const OPTIONS: &[(&str, &str, Becomes)] = &[
    ("name", "", Key("ContainerName")),
    ("publish", "p", Key("PublishPort")),
    ("volume", "v", Key("Volume")),
    ("env", "e", Key("Environment")),
    ("env-file", "", Key("EnvironmentFile")),
    ("network", "", Key("Network")),
    ("net", "", Key("Network")),
    ("user", "u", User),
    ("workdir", "w", Key("WorkingDir")),
    ("hostname", "h", Key("HostName")),
    ("label", "l", Key("Label")),
    ("annotation", "", Key("Annotation")),
    ("cap-add", "", Key("AddCapability")),
    ("cap-drop", "", Key("DropCapability")),
    ("device", "", Key("AddDevice")),
    ("mount", "", Key("Mount")),
    ("tmpfs", "", Key("Tmpfs")),
    ("read-only", "", Line("ReadOnly=true")),
    ("dns", "", Key("DNS")),
    ("add-host", "", Key("AddHost")),
    ("group-add", "", Key("GroupAdd")),
    ("ulimit", "", Key("Ulimit")),
    ("sysctl", "", Key("Sysctl")),
    ("shm-size", "", Key("ShmSize")),
    ("pids-limit", "", Key("PidsLimit")),
    ("memory", "m", Key("Memory")),
    ("stop-signal", "", Key("StopSignal")),
    ("stop-timeout", "", Key("StopTimeout")),
    ("entrypoint", "", Key("Entrypoint")),
    ("pull", "", Key("Pull")),
    ("security-opt", "", Security),
    ("log-driver", "", NothingWithValue),
    ("restart", "", NothingWithValue),
    ("cidfile", "", NothingWithValue),
    ("conmon-pidfile", "", NothingWithValue),
    ("cgroups", "", NothingWithValue),
    ("sdnotify", "", NothingWithValue),
    ("rm", "", Nothing),
    ("replace", "", Nothing),
    ("detach", "d", Nothing),
    ("interactive", "i", Nothing),
    ("tty", "t", Nothing),
];

/// Translates the words after `run`.
pub fn translate(words: &[&str]) -> Result<Made, String> {
    let mut text = String::new();
    let mut notes = Vec::new();
    let mut words = words.iter().copied();
    let image = loop {
        let word = words.next().ok_or("it names no image")?;
        if word == "--" {
            break words.next().ok_or("it names no image")?;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let found = OPTIONS.iter().find(|(known, _, _)| *known == name);
            let (_, _, becomes) = found.ok_or_else(|| unknown(&format!("--{name}")))?;
            option(*becomes, name, value, &mut words, &mut text, &mut notes)?;
        } else if let Some(short) = word.strip_prefix('-').filter(|s| !s.is_empty()) {
            shorts(short, &mut words, &mut text, &mut notes)?;
        } else {
            break word;
        }
    };
    let mut made = format!("Image={image}\n{text}");
    let arguments: Vec<String> = words.map(quoted).collect();
    if !arguments.is_empty() {
        let _ = writeln!(made, "Exec={}", arguments.join(" "));
    }
    Ok(Made { text: made, notes })
}

/// `-it`, `-p80:80`, `-p 80:80`.
fn shorts<'a>(
    letters: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    text: &mut String,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    for (index, letter) in letters.char_indices() {
        let found = OPTIONS
            .iter()
            .find(|(_, short, _)| short.starts_with(letter));
        let (name, _, becomes) = found.ok_or_else(|| unknown(&format!("-{letter}")))?;
        let rest = &letters[index + letter.len_utf8()..];
        if matches!(becomes, Nothing | Line(_)) {
            option(*becomes, name, None, words, text, notes)?;
            continue;
        }
        let value = Some(rest.trim_start_matches('=')).filter(|rest| !rest.is_empty());
        return option(*becomes, name, value, words, text, notes);
    }
    Ok(())
}

fn option<'a>(
    becomes: Becomes,
    name: &str,
    value: Option<&'a str>,
    words: &mut impl Iterator<Item = &'a str>,
    text: &mut String,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    if let Nothing | Line(_) = becomes {
        match (becomes, value) {
            (Line(line), None | Some("true")) => {
                let _ = writeln!(text, "{line}");
            }
            (_, None | Some("true" | "false")) => {}
            _ => return Err(format!("--{name} is true or false")),
        }
        return Ok(());
    }
    let value = match value {
        Some(value) => value,
        None => words
            .next()
            .ok_or_else(|| format!("--{name} lacks its value"))?,
    };
    match becomes {
        Key(key @ ("Environment" | "Label" | "Annotation" | "Sysctl")) => {
            if key == "Environment" && !value.contains('=') {
                return Err(format!(
                    "--{name} {value} takes the host's environment, which has none"
                ));
            }
            let _ = writeln!(text, "{key}={}", quoted(value));
        }
        Key(key) => {
            let _ = writeln!(text, "{key}={value}");
        }
        User => {
            let (user, group) = value.split_once(':').unwrap_or((value, ""));
            let _ = writeln!(text, "User={user}");
            if !group.is_empty() {
                let _ = writeln!(text, "Group={group}");
            }
        }
        Security if value.starts_with("no-new-privileges") => {
            let _ = writeln!(text, "NoNewPrivileges=true");
        }
        Security if value.starts_with("label") => {
            notes.push(format!(
                "--security-opt {value} has no effect: this host does not use SELinux"
            ));
        }
        Security => return Err(unknown(&format!("--security-opt {value}"))),
        _ => notes.push(format!("--{name} {value} has no effect here")),
    }
    Ok(())
}

fn unknown(option: &str) -> String {
    format!("the option {option} has no counterpart in a Quadlet")
}

/// A word as systemd reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text += "\\n",
            // A Quadlet's own specifiers.
            '%' => text += "%%",
            c => text.push(c),
        }
    }
    text + "\""
}
