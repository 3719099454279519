//! The list of containers, and how it is narrowed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use serde_json::{Value, json};

use super::super::asked::{Asked, Filters};
use super::super::objects::endpoints;
use super::super::refusal::Refusal;
use super::super::{Arced, time};
use super::{find, inspect};
use crate::engine::container::Container;
use crate::engine::options::MountSource;
use crate::engine::record::{Health, Phase, State};
use crate::engine::{Engine, clock};
use crate::network::{Attachment, Protocol};

const FILTERS: [&str; 14] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
];
const FILTERS_TOO: [&str; 1] = ["volume"];

pub async fn list(Shared(engine): Arced, asked: Asked) -> Result<Json<Value>, Refusal> {
    let known: Vec<&str> = FILTERS.iter().chain(&FILTERS_TOO).copied().collect();
    let filters = asked.filters(&known)?;
    let limit = asked.number("limit")?.filter(|n| *n > 0);
    let all = asked.flag("all")
        || limit.is_some()
        || !filters.of("status").is_empty()
        || !filters.of("exited").is_empty();
    let created = |key: &str| -> Result<Option<u64>, Refusal> {
        let named = filters.of(key).first();
        let found = named.map(|id| find(&engine, id)).transpose()?;
        Ok(found.map(|c| c.config.created))
    };
    let (before, since) = (created("before")?, created("since")?);
    let mut shown = Vec::new();
    for container in engine.all().iter().rev() {
        let state = container.state();
        if !all && !state.phase.is_up() && state.phase != Phase::Restarting {
            continue;
        }
        let age = container.config.created;
        let between = before.is_none_or(|b| age < b) && since.is_none_or(|s| age > s);
        if !between || !is_wanted(&engine, container, &state, &filters) {
            continue;
        }
        let settings = endpoints::network_settings(&engine, container).await;
        let networks = &settings["Networks"];
        if filters.any("network", |wanted| is_in(networks, wanted)) {
            let size = asked.flag("size");
            shown.push(entry(&engine, container, &state, networks, size));
        }
    }
    if let Some(limit) = limit {
        shown.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(Json(Value::Array(shown)))
}

fn is_wanted(engine: &Engine, c: &Container, state: &State, filters: &Filters) -> bool {
    let config = &c.config;
    let status = inspect::status(engine, &config.id, state);
    let code = state.exit.map_or(0, |e| e.code).to_string();
    let volume = |wanted: &str| {
        config.options.mounts.iter().any(|m| {
            let named = MountSource::Volume(wanted.into());
            m.source == named || m.target.as_os_str() == wanted
        })
    };
    let port = |wanted: &str, host: bool| {
        let wanted = wanted.split('/').next().unwrap_or_default();
        config.options.ports.iter().any(|p| {
            let own = if host { p.host_port } else { p.container_port };
            own.to_string() == wanted
        })
    };
    let of_image = |wanted: &str| {
        let found = engine.store.find(wanted).map(|i| i.id.to_string());
        found.as_deref() == Some(&config.image_id) || config.options.image == wanted
    };
    filters.any("name", |n| config.name.contains(n.trim_start_matches('/')))
        && filters.any("id", |id| config.id.starts_with(id))
        && filters.labels("label", &config.options.labels)
        && filters.any("status", |s| s == status)
        && filters.any("exited", |e| state.phase == Phase::Exited && e == code)
        && filters.any("ancestor", of_image)
        && filters.any("volume", volume)
        && filters.any("publish", |p| port(p, true))
        && filters.any("expose", |p| port(p, false))
        && filters.any("health", |h| h == health(state))
        && filters.any("is-task", |t| t == "false")
}

fn health(state: &State) -> String {
    let health = state.health.filter(|_| state.phase.is_up());
    health.map_or("none".into(), |health| health.to_string())
}

/// Whether a container's networks have one of this name or id.
fn is_in(networks: &Value, wanted: &str) -> bool {
    let mut all = networks.as_object().into_iter().flatten();
    all.any(|(name, told)| {
        name == wanted
            || told["NetworkID"]
                .as_str()
                .is_some_and(|id| id.starts_with(wanted))
    })
}

fn entry(
    engine: &Engine,
    c: &Arc<Container>,
    state: &State,
    networks: &Value,
    size: bool,
) -> Value {
    let config = &c.config;
    let status = inspect::status(engine, &config.id, state);
    let mut entry = json!({
        "Id": config.id,
        "Names": [format!("/{}", config.name)],
        "Image": config.options.image,
        "ImageID": config.image_id,
        "Command": config.command,
        "Created": config.created,
        "Ports": ports(state.network.as_ref()),
        "Labels": config.options.labels,
        "State": status,
        "Status": told(status, state, clock::wall_ns()),
        "HostConfig": {"NetworkMode": inspect::network_mode(c, networks)},
        "NetworkSettings": {"Networks": networks},
        "Mounts": inspect::mounts(engine, c),
    });
    if size {
        entry["SizeRw"] = json!(inspect::own_bytes(engine, &config.id));
        entry["SizeRootFs"] = entry["SizeRw"].clone();
    }
    entry
}

fn ports(network: Option<&Attachment>) -> Value {
    let ports = network.map(|n| n.ports.as_slice()).unwrap_or_default();
    let each = ports.iter().map(|p| {
        json!({
            "IP": p.host_ip.map_or("0.0.0.0".into(), |ip| ip.to_string()),
            "PrivatePort": p.container_port,
            "PublicPort": p.host_port,
            "Type": match p.protocol { Protocol::Tcp => "tcp", Protocol::Udp => "udp" },
        })
    });
    Value::Array(each.collect())
}

/// `Up 3 minutes`, in dockerd's words.
fn told(status: &str, state: &State, now_ns: u64) -> String {
    let ago = |ns: u64| human(Duration::from_nanos(now_ns.saturating_sub(ns)));
    let started = ago(state.started_ns.unwrap_or(now_ns));
    let ended = state.exit.map(|e| (e.code, ago(e.at_ns)));
    match (status, ended) {
        ("created", _) => "Created".into(),
        ("running", _) => match state.health {
            None => format!("Up {started}"),
            Some(Health::Starting) => format!("Up {started} (health: starting)"),
            Some(health) => format!("Up {started} ({health})"),
        },
        ("paused", _) => format!("Up {started} (Paused)"),
        ("restarting", Some((code, ago))) => format!("Restarting ({code}) {ago} ago"),
        (_, Some((code, ago))) => format!("Exited ({code}) {ago} ago"),
        _ => "Created".into(),
    }
}

/// A length of time as people say it.
fn human(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, 2..46, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// For `since` and `until` of prunes: a moment, or an age such as `24h`.
pub fn moment(text: &str) -> Result<u64, Refusal> {
    let now = clock::wall_ns();
    if let Ok(at) = time::moment(text) {
        return Ok(at);
    }
    let mut total = 0_u64;
    let mut digits = String::new();
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => {
                return Err(Refusal::invalid(format!(
                    "expected a time or an age such as 24h, found '{text}'"
                )));
            }
        };
        let number: u64 = digits.parse().unwrap_or(0);
        digits.clear();
        total = total.saturating_add(number.saturating_mul(unit));
    }
    Ok(now.saturating_sub(total.saturating_mul(1_000_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_as_docker_tells_them() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (3 * 3600, "3 hours"),
            (3 * 86_400, "3 days"),
            (21 * 86_400, "3 weeks"),
            (90 * 86_400, "3 months"),
            (3 * 365 * 86_400, "3 years"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), wanted);
        }
    }
}
