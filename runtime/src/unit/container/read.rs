//! Reads the values of single keys, and adds them to what stands there already.
//!
//! It knows no key; an empty value resets a list.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::engine::options::{DeviceSpec, RestartPolicy, SecretSpec};
use crate::engine::values;
use crate::unit::time;
use formats::unit_file::words;

pub fn some(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// systemd takes 0 for "no timeout" here.
pub fn timeout(value: &str) -> Result<Option<Duration>, String> {
    Ok(time::span(value)?.filter(|d| !d.is_zero()))
}

pub fn seconds(value: &str) -> Result<u64, String> {
    let refusal = || format!("expected whole seconds, found '{value}'");
    value.parse().map_err(|_| refusal())
}

pub fn pids(value: &str) -> Result<Option<u64>, String> {
    match value {
        "" => Ok(None),
        "-1" | "0" => Ok(Some(0)),
        text => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("expected a number or -1, found '{text}'")),
        },
    }
}

/// A JSON array or plain words, as podman takes it.
pub fn entrypoint(value: &str) -> Result<Vec<String>, String> {
    if value.starts_with('[') {
        return serde_json::from_slice(value.as_bytes())
            .map_err(|e| format!("expected a JSON array of strings: {e}"));
    }
    words::split(value)
}

/// `[-]HOST[:CONTAINER][:ACCESS]`; the dash as in Quadlet: a host that lacks it is no failure.
pub fn device(value: &str) -> Result<DeviceSpec, String> {
    let (optional, rest) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts: Vec<&str> = rest.split(':').collect();
    let is_access = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let access = match parts.last() {
        Some(last) if parts.len() > 1 && is_access(last) => parts.pop().unwrap_or_default(),
        _ => "rwm",
    };
    let (host, container) = match parts[..] {
        [one] => (one, one),
        [host, container] => (host, container),
        _ => {
            return Err(format!(
                "expected HOST[:CONTAINER][:ACCESS], found '{value}'"
            ));
        }
    };
    Ok(DeviceSpec {
        host: values::absolute(host)?,
        container: values::absolute(container)?,
        access: access.to_owned(),
        optional,
    })
}

/// `NAME[,type=mount][,target=PATH][,uid=N][,gid=N][,mode=0400]`, below /run/secrets where the path says nothing else.
pub fn secret(value: &str) -> Result<SecretSpec, String> {
    let mut words = value.split(',');
    let name = values::volume_name(words.next().unwrap_or_default())?;
    let mut secret = SecretSpec {
        target: Path::new("/run/secrets").join(&name),
        name,
        uid: 0,
        gid: 0,
        mode: 0o400,
    };
    let number = |text: &str, base: u32| {
        u32::from_str_radix(text, base).map_err(|_| format!("expected a number, found '{text}'"))
    };
    for word in words {
        match word.split_once('=') {
            Some(("type", "mount")) => {}
            Some(("type", "env")) => {
                return Err("type=env would show it in inspections and in /proc; mount it".into());
            }
            Some(("target", path)) if path.starts_with('/') => {
                secret.target = values::absolute(path)?;
            }
            Some(("target", name)) => {
                let path = format!("/run/secrets/{name}");
                secret.target = values::absolute(&path)?;
            }
            Some(("uid", text)) => secret.uid = number(text, 10)?,
            Some(("gid", text)) => secret.gid = number(text, 10)?,
            Some(("mode", text)) => {
                secret.mode = number(text, 8)?;
                if secret.mode > 0o777 {
                    return Err(format!("expected a mode such as 0400, found '{text}'"));
                }
            }
            _ => {
                return Err(format!(
                    "expected type, target, uid, gid or mode with a value, found '{word}'"
                ));
            }
        }
    }
    Ok(secret)
}

pub fn service_restart(value: &str) -> Result<RestartPolicy, String> {
    match value {
        "" | "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "on-failure" => Ok(RestartPolicy::OnFailure { max: None }),
        other => Err(format!(
            "expected no, always or on-failure, found '{other}'"
        )),
    }
}

/// A target that no boot reaches would keep a unit down without a word.
pub fn reachable(names: &BTreeSet<String>) -> Result<(), String> {
    let odd = names
        .iter()
        .find(|n| !n.ends_with(".service") && !crate::unit::BOOT.contains(&n.as_str()));
    match odd {
        None => Ok(()),
        Some(name) => Err(format!(
            "'{name}' is never reached here; write multi-user.target, default.target or a unit's name"
        )),
    }
}

pub fn set(into: &mut BTreeSet<String>, value: &str) -> Result<(), String> {
    if value.is_empty() {
        into.clear();
    }
    for word in words::split(value)? {
        // Quadlet lets units name each other by file: web.container is web.service.
        let name = match word.rsplit_once('.') {
            Some((stem, "container")) => format!("{stem}.service"),
            Some((stem, kind @ ("volume" | "image" | "network"))) => {
                format!("{stem}-{kind}.service")
            }
            _ => word,
        };
        into.insert(name);
    }
    Ok(())
}

pub fn reset_or_words(list: &mut Vec<String>, value: &str) -> Result<Vec<String>, String> {
    if value.is_empty() {
        list.clear();
    }
    words::split(value)
}

pub fn push<T>(
    list: &mut Vec<T>,
    value: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<(), String> {
    extend(list, value, |v| read(v).map(|item| vec![item]))
}

pub fn extend<T>(
    list: &mut Vec<T>,
    value: &str,
    read: impl Fn(&str) -> Result<Vec<T>, String>,
) -> Result<(), String> {
    if value.is_empty() {
        list.clear();
    } else {
        list.extend(read(value)?);
    }
    Ok(())
}

pub fn map(
    into: &mut std::collections::BTreeMap<String, String>,
    value: &str,
) -> Result<(), String> {
    if value.is_empty() {
        into.clear();
    }
    for word in words::split(value)? {
        into.extend([values::pair(&word)?]);
    }
    Ok(())
}

pub fn capabilities(list: &mut Vec<String>, value: &str) -> Result<(), String> {
    for word in reset_or_words(list, value)? {
        list.push(values::capability(&word)?);
    }
    Ok(())
}
