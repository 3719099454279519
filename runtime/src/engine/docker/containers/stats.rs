//! What a container uses, once or each second.
//!
//! Numbers are the kernel's, of the container's cgroup and of its network namespace.

use std::convert::Infallible;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::asked::Asked;
use super::super::refusal::Refusal;
use super::super::{Arced, time};
use super::{Id, find};
use crate::engine::container::Container;
use crate::engine::{Engine, clock};

/// Between two samples.
const EACH: Duration = Duration::from_secs(1);

pub async fn stats(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let before = sample(&engine, &container);
    if !asked.flag_or("stream", true) {
        if !asked.flag("one-shot") {
            tokio::time::sleep(EACH).await;
        }
        let now = sample(&engine, &container);
        return Ok(Json(told(&container, &before, now)).into_response());
    }
    let lines = futures_util::stream::unfold((before, true), move |(before, is_first)| {
        let (engine, container) = (engine.clone(), container.clone());
        async move {
            if !is_first {
                tokio::time::sleep(EACH).await;
            }
            // A removed container has no more numbers.
            container.watch().has_changed().ok()?;
            let now = sample(&engine, &container);
            let mut line = told(&container, &before, now.clone()).to_string();
            line.push('\n');
            Some((Ok::<_, Infallible>(line), (now, false)))
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

fn told(container: &Arc<Container>, before: &Value, mut now: Value) -> Value {
    if let Some(all) = now.as_object_mut() {
        let earlier = |key: &str| before.get(key).cloned().unwrap_or_default();
        all.insert("precpu_stats".into(), earlier("cpu_stats"));
        all.insert("preread".into(), earlier("read"));
        all.insert("id".into(), container.config.id.clone().into());
        all.insert("name".into(), format!("/{}", container.config.name).into());
    }
    now
}

/// A container that does not run has none of the numbers.
fn sample(engine: &Engine, container: &Container) -> Value {
    let state = container.state();
    let mut all = json!({
        "read": time::rfc3339(clock::wall_ns()),
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": {}, "blkio_stats": {}, "cpu_stats": {}, "memory_stats": {},
    });
    let Some(folder) = engine
        .cgroup_of(&container.config.id)
        .filter(|_| state.phase.is_up())
    else {
        return all;
    };
    all["pids_stats"] =
        json!({"current": number(&folder, "pids.current"), "limit": number(&folder, "pids.max")});
    all["cpu_stats"] = cpu(&folder);
    all["memory_stats"] = memory(&folder);
    all["blkio_stats"] = blocks(&folder);
    if let Some(process) = state.process {
        all["networks"] = links(&read(
            FilePath::new(&format!("/proc/{}/net", process.pid)),
            "dev",
        ));
    }
    all
}

fn read(folder: &FilePath, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// `max` is none.
fn number(folder: &FilePath, name: &str) -> Option<u64> {
    read(folder, name).trim().parse().ok()
}

fn table(text: &str) -> Map<String, Value> {
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse::<u64>().ok()?.into()))
    });
    pairs.collect()
}

fn cpu(folder: &FilePath) -> Value {
    let own = table(&read(folder, "cpu.stat"));
    let of = |key: &str| own.get(key).and_then(Value::as_u64).unwrap_or(0);
    let system: u64 = read(FilePath::new("/proc"), "stat")
        .lines()
        .next()
        .map(|line| line.split_whitespace().skip(1).take(8))
        .map_or(0, |ticks| ticks.filter_map(|t| t.parse::<u64>().ok()).sum());
    json!({
        "cpu_usage": {
            "total_usage": of("usage_usec") * 1000,
            "usage_in_kernelmode": of("system_usec") * 1000,
            "usage_in_usermode": of("user_usec") * 1000,
        },
        // A tick is ten milliseconds.
        "system_cpu_usage": system * 10_000_000,
        "online_cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "throttling_data": {
            "periods": of("nr_periods"),
            "throttled_periods": of("nr_throttled"),
            "throttled_time": of("throttled_usec") * 1000,
        },
    })
}

fn memory(folder: &FilePath) -> Value {
    let limit = number(folder, "memory.max");
    json!({
        "usage": number(folder, "memory.current").unwrap_or(0),
        "stats": table(&read(folder, "memory.stat")),
        "limit": limit.unwrap_or_else(|| rustix::system::sysinfo().totalram as u64),
    })
}

fn blocks(folder: &FilePath) -> Value {
    let mut entries = Vec::new();
    for line in read(folder, "io.stat").lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|d| d.split_once(':')) else {
            continue;
        };
        let (major, minor) = (major.parse::<u64>(), minor.parse::<u64>());
        let (Ok(major), Ok(minor)) = (major, minor) else {
            continue;
        };
        for word in words {
            let op = match word.split_once('=') {
                Some(("rbytes", n)) => ("read", n),
                Some(("wbytes", n)) => ("write", n),
                _ => continue,
            };
            let value = op.1.parse::<u64>().unwrap_or(0);
            entries.push(json!({"major": major, "minor": minor, "op": op.0, "value": value}));
        }
    }
    json!({"io_service_bytes_recursive": entries})
}

/// From /proc/PID/net/dev; the loopback is nobody's traffic.
fn links(text: &str) -> Value {
    const NAMES: [&str; 16] = [
        "rx_bytes",
        "rx_packets",
        "rx_errors",
        "rx_dropped",
        "",
        "",
        "",
        "",
        "tx_bytes",
        "tx_packets",
        "tx_errors",
        "tx_dropped",
        "",
        "",
        "",
        "",
    ];
    let mut all = Map::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name == "lo" {
            continue;
        }
        let numbers = numbers
            .split_whitespace()
            .map(|n| n.parse::<u64>().unwrap_or(0));
        let named = NAMES
            .iter()
            .zip(numbers)
            .filter(|(name, _)| !name.is_empty());
        let link: Map<String, Value> = named.map(|(k, v)| ((*k).to_owned(), v.into())).collect();
        all.insert(name.to_owned(), link.into());
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_s_numbers_are_read_by_their_columns() {
        let text = "Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 5 2 0 0 0 0 0 0 7 3 0 1 0 0 0 0\n";
        let read = links(text);
        assert_eq!(read["eth0"]["rx_bytes"], 5);
        assert_eq!(read["eth0"]["tx_bytes"], 7);
        assert_eq!(read["eth0"]["tx_dropped"], 1);
        assert!(read.get("lo").is_none());
    }
}
