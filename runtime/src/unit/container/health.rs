//! `Health…=` and `Notify=`: how a container's health is checked, and when it counts as started.
//!
//! Values are podman's; times are systemd's or podman's own (`1m30s`).

use super::read::{millis, some};
use super::unhandled;
use crate::engine::options::{HealthCheck, NEVER, OnFailure, ReadyBy, StartupCheck};
use crate::engine::values;
use crate::unit::time;

/// A key of a health check.
pub fn assign(check: &mut HealthCheck, key: &str, value: &str) -> Result<(), String> {
    match key {
        "HealthCmd" => {
            let read = some(value).map(command).transpose()?;
            let (test, shell) = read.map_or((None, false), |(words, shell)| (Some(words), shell));
            (check.test, check.shell) = (test, shell);
        }
        "HealthInterval" => check.interval_ms = some(value).map(interval).transpose()?,
        "HealthTimeout" => check.timeout_ms = some(value).map(length).transpose()?,
        "HealthStartPeriod" => check.start_period_ms = some(value).map(length).transpose()?,
        "HealthRetries" => check.retries = some(value).map(number).transpose()?,
        "HealthOnFailure" => check.on_failure = on_failure(value)?,
        "HealthMaxLogCount" => check.log_count = some(value).map(number).transpose()?,
        "HealthMaxLogSize" => check.log_size = some(value).map(number).transpose()?,
        "HealthLogDestination" => match value {
            "" | "local" => {}
            other => {
                return Err(format!(
                    "destination '{other}' is not supported: results are shown by inspect; leave it out"
                ));
            }
        },
        _ => return startup(check.startup.get_or_insert_default(), key, value),
    }
    Ok(())
}

fn startup(check: &mut StartupCheck, key: &str, value: &str) -> Result<(), String> {
    match key {
        "HealthStartupCmd" => {
            let read = some(value).map(command).transpose()?;
            (check.test, check.shell) = read.unwrap_or_default();
        }
        "HealthStartupInterval" => check.interval_ms = some(value).map(interval).transpose()?,
        "HealthStartupTimeout" => check.timeout_ms = some(value).map(length).transpose()?,
        "HealthStartupRetries" => check.retries = some(value).map_or(Ok(0), number)?,
        "HealthStartupSuccess" => check.success = some(value).map_or(Ok(0), number)?,
        _ => return Err(unhandled()),
    }
    Ok(())
}

/// What of all keys together is a check, if any of them was written.
pub fn finish(mut check: HealthCheck) -> Result<Option<HealthCheck>, String> {
    if let Some(startup) = check.startup.take_if(|startup| startup.test.is_empty())
        && startup != StartupCheck::default()
    {
        return Err("HealthStartupCmd= is missing, and other HealthStartup…= are there".into());
    }
    if check == HealthCheck::default() {
        return Ok(None);
    }
    check.at_once = true;
    Ok(Some(check))
}

/// `Notify=`: a truth value, or `healthy`.
pub fn notify(value: &str) -> Result<Option<ReadyBy>, String> {
    match value {
        "" => Ok(None),
        "healthy" => Ok(Some(ReadyBy::Healthy)),
        other => {
            let told = values::boolean(other)
                .map_err(|_| format!("expected yes, no or healthy, found '{other}'"))?;
            Ok(told.then_some(ReadyBy::Notify))
        }
    }
}

/// Words, and whether they are one line for the shell. No words: the image's check is switched off.
fn command(value: &str) -> Result<(Vec<String>, bool), String> {
    if value == "none" {
        return Ok((Vec::new(), false));
    }
    if !value.starts_with('[') {
        return Ok(match value.split_once(' ') {
            Some(("CMD-SHELL", line)) => (vec![line.to_owned()], true),
            Some(("CMD", words)) => {
                let words = formats::unit_file::words::split(words)?;
                (words, false)
            }
            _ => (vec![value.to_owned()], true),
        });
    }
    let mut words: Vec<String> = serde_json::from_str(value)
        .map_err(|e| format!("expected a line or a JSON array of strings: {e}"))?;
    let kind = words.first().cloned().unwrap_or_default();
    let named = ["NONE", "CMD", "CMD-SHELL"].contains(&kind.as_str());
    if named {
        words.remove(0);
    }
    match (kind.as_str(), words.len()) {
        ("NONE", _) => Ok((Vec::new(), false)),
        (_, 0) => Err("expected a command, found an empty array".into()),
        ("CMD-SHELL", _) => Ok((vec![words.join(" ")], true)),
        ("CMD", _) => Ok((words, false)),
        // As podman: one word is a line.
        (_, one) => Ok((words, one == 1)),
    }
}

fn interval(value: &str) -> Result<u64, String> {
    match value {
        "disable" => Ok(NEVER),
        value => length(value).map(|ms| ms.max(1)),
    }
}

fn length(value: &str) -> Result<u64, String> {
    let span = time::span(value)?.ok_or("expected a finite time")?;
    Ok(millis(span))
}

fn number(value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| format!("expected a number, found '{value}'"))
}

fn on_failure(value: &str) -> Result<OnFailure, String> {
    Ok(match value {
        "" | "none" => OnFailure::None,
        "kill" => OnFailure::Kill,
        "restart" => OnFailure::Restart,
        "stop" => OnFailure::Stop,
        other => {
            return Err(format!(
                "expected none, kill, restart or stop, found '{other}'"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines_or_words_as_with_podman() {
        let line = |text: &str| (vec![text.to_owned()], true);
        let words = |words: &[&str]| (words.iter().map(|w| (*w).to_owned()).collect(), false);
        for (text, wanted) in [
            (
                "curl -f http://x || exit 1",
                line("curl -f http://x || exit 1"),
            ),
            ("none", words(&[])),
            (r#"["a", "b c"]"#, words(&["a", "b c"])),
            (r#"["a b"]"#, line("a b")),
            (r#"["CMD", "a"]"#, words(&["a"])),
            (r#"["CMD-SHELL", "a", "b"]"#, line("a b")),
            ("CMD-SHELL a b", line("a b")),
            ("CMD a 'b c'", words(&["a", "b c"])),
        ] {
            assert_eq!(command(text).unwrap(), wanted, "{text}");
        }
        assert!(command("[]").is_err());
        assert!(command("[1]").is_err());
    }
}
