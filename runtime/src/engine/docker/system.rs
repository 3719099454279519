//! Ping, version and info: what this side is.
//!
//! Numbers are looked up when they are asked for; nothing is kept.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::clock;
use super::super::container::lock;
use super::refusal::Refusal;
use super::{Arced, time, version};

/// The engine that clients are told of: what they decide by it is what this API's newest version has.
const LIKE: &str = "27.5.1";

/// What is the same on each host.
const SAME_ON_ALL: &str = include_str!("info.json");

pub async fn ping() -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    let swarm = [("swarm", "inactive"), ("builder-version", "1")];
    (headers, swarm, "OK").into_response()
}

pub async fn version() -> Json<Value> {
    let host = rustix::system::uname();
    let kernel = host.release().to_string_lossy().into_owned();
    let (newest, oldest) = (
        version::text(version::NEWEST),
        version::text(version::OLDEST),
    );
    Json(json!({
        "Platform": {"Name": concat!("Skeg ", env!("CARGO_PKG_VERSION"))},
        "Components": [{
            "Name": "Engine",
            "Version": LIKE,
            "Details": {
                "ApiVersion": newest,
                "MinAPIVersion": oldest,
                "Arch": arch(),
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "none",
                "KernelVersion": kernel,
                "Os": "linux",
            },
        }, {
            "Name": "skeg",
            "Version": env!("CARGO_PKG_VERSION"),
            "Details": {},
        }],
        "Version": LIKE,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "none",
        "Os": "linux",
        "Arch": arch(),
        "KernelVersion": kernel,
    }))
}

/// As Go names it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub async fn info(Shared(engine): Arced) -> Result<Json<Value>, Refusal> {
    let mut counted = [0_usize; 3];
    for container in engine.all() {
        let state = container.state();
        counted[if state.phase.is_up() { 0 } else { 2 }] += 1;
    }
    let [running, paused, stopped] = counted;
    let host = rustix::system::uname();
    let (name, kernel) = (
        host.nodename().to_string_lossy(),
        host.release().to_string_lossy(),
    );
    let warnings: Vec<String> = lock(&engine.troubles).values().cloned().collect();
    let mut info: Value = serde_json::from_slice(SAME_ON_ALL.as_bytes()).unwrap_or_default();
    let found = json!({
        "ID": machine_id(),
        "Containers": running + paused + stopped,
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": stopped,
        "Images": engine.store.list().len(),
        "SystemTime": time::rfc3339(clock::wall_ns()),
        "KernelVersion": kernel,
        "OperatingSystem": pretty_name(),
        "OSVersion": env!("CARGO_PKG_VERSION"),
        "ServerVersion": LIKE,
        "DockerRootDir": formats::paths::ENGINE_STATE,
        "Architecture": std::env::consts::ARCH,
        "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "MemTotal": rustix::system::sysinfo().totalram,
        "Name": name,
        "Warnings": warnings,
    });
    if let (Some(info), Value::Object(found)) = (info.as_object_mut(), found) {
        info.extend(found);
    }
    Ok(Json(info))
}

fn machine_id() -> String {
    let read = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    read.trim().to_owned()
}

fn pretty_name() -> String {
    let read = std::fs::read_to_string(formats::paths::OS_RELEASE).unwrap_or_default();
    let line = read.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| "Skeg".into(), |name| name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_on_each_host_is_json() {
        let read: Value = serde_json::from_str(SAME_ON_ALL).unwrap();
        assert_eq!(read["Swarm"]["LocalNodeState"], "inactive");
    }
}
