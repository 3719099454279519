//! All that is known of one container.
//!
//! `Config` and `HostConfig` are what the client sent, with the image's values and the defaults where it
//! said nothing; of a container that did not come through this API they are made from its options.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Map, Value, json};

use super::super::asked::Asked;
use super::super::objects::endpoints;
use super::super::refusal::Refusal;
use super::super::{Arced, time};
use super::{Id, body_file, find};
use crate::engine::Engine;
use crate::engine::checks::check;
use crate::engine::container::Container;
use crate::engine::options::{ContainerOptions, MountSource, NetworkMode, RestartPolicy};
use crate::engine::record::{Health, Phase, State};
use crate::network::Protocol;

/// What clients expect of a `HostConfig` in which nothing was said.
const HOST_CONFIG: &str = include_str!("host_config.json");

pub async fn inspect(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let container = find(&engine, &id)?;
    let (config, state) = (&container.config, container.state());
    let sent = std::fs::read(body_file(&engine, &config.id)).ok();
    let sent: Value = sent
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let arguments: Vec<String> = engine
        .shelf
        .spec(&config.id)
        .ok()
        .and_then(|spec| spec.process().as_ref()?.args().clone())
        .unwrap_or_else(|| config.command.split(' ').map(str::to_owned).collect());
    let folder = engine.shelf.container(&config.id);
    let network = endpoints::network_settings(&engine, &container).await;
    let mode = network_mode(&container, &network["Networks"]);
    let mut told = json!({
        "Id": config.id,
        "Created": time::rfc3339(config.created.saturating_mul(1_000_000_000)),
        "Path": arguments.first(),
        "Args": arguments.get(1..).unwrap_or_default(),
        "State": told_state(&engine, &container, &state),
        "Image": config.image_id,
        "ResolvConfPath": folder.join("etc/resolv.conf"),
        "HostnamePath": folder.join("etc/hostname"),
        "HostsPath": folder.join("etc/hosts"),
        "LogPath": folder.join("log"),
        "Name": format!("/{}", config.name),
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "",
        "ExecIDs": super::execs::ids_of(&engine, &config.id),
        "HostConfig": host_config(&container, &sent, mode),
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": folder.join("upper"), "WorkDir": folder.join("work"), "MergedDir": folder.join("merged")}},
        "Mounts": mounts(&engine, &container),
        "Config": own_config(&engine, &container, &sent),
    });
    told["NetworkSettings"] = network;
    if asked.flag("size") {
        told["SizeRw"] = json!(own_bytes(&engine, &config.id));
        told["SizeRootFs"] = told["SizeRw"].clone();
    }
    Ok(Json(told))
}

/// One of docker's words for where it stands.
pub fn status(engine: &Engine, id: &str, state: &State) -> &'static str {
    match state.phase {
        Phase::Created => "created",
        Phase::Starting if state.started_ns.is_none() => "created",
        Phase::Starting | Phase::Restarting => "restarting",
        Phase::Running | Phase::Stopping if engine.is_paused(id) => "paused",
        Phase::Running | Phase::Stopping => "running",
        // One that never ran is as it was created.
        Phase::Exited if state.started_ns.is_none() => "created",
        Phase::Exited if state.removing => "removing",
        Phase::Exited => "exited",
    }
}

fn told_state(engine: &Engine, c: &Container, state: &State) -> Value {
    let status = status(engine, &c.config.id, state);
    let code = match &state.error {
        Some(_) if !state.phase.is_up() => state.error_code,
        _ => state.exit.map_or(0, |e| e.code),
    };
    let mut told = json!({
        "Status": status,
        "Running": state.phase.is_up() || status == "restarting",
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": state.exit.is_some_and(|e| e.oom),
        "Dead": false,
        "Pid": state.process.map_or(0, |p| p.pid),
        "ExitCode": code,
        "Error": state.error.as_deref().unwrap_or_default(),
        "StartedAt": time::rfc3339(state.started_ns.unwrap_or(0)),
        "FinishedAt": time::rfc3339(state.exit.map_or(0, |e| e.at_ns)),
    });
    if c.config.health.is_some() {
        told["Health"] = told_health(engine, c, state);
    }
    told
}

/// What the checks say; of one that is down docker says that it is unhealthy.
fn told_health(engine: &Engine, c: &Container, state: &State) -> Value {
    let shown = engine.checks.shown(&c.config.id);
    let log = shown.log.iter().map(|outcome| {
        json!({
            "Start": time::rfc3339(outcome.began_ns),
            "End": time::rfc3339(outcome.ended_ns),
            "ExitCode": outcome.code,
            "Output": outcome.output,
        })
    });
    let health = match state.phase {
        Phase::Created => Health::Starting,
        phase if phase.is_up() => state.health.unwrap_or(Health::Starting),
        _ => Health::Unhealthy,
    };
    json!({
        "Status": health.to_string(),
        "FailingStreak": shown.streak,
        "Log": log.collect::<Vec<_>>(),
    })
}

fn host_config(c: &Container, sent: &Value, mode: String) -> Value {
    let mut all: Map<String, Value> =
        serde_json::from_slice(HOST_CONFIG.as_bytes()).unwrap_or_default();
    let o = &c.config.options;
    if let Some(sent) = sent.get("HostConfig").and_then(Value::as_object) {
        let said = sent.iter().filter(|(_, value)| !value.is_null());
        all.extend(said.map(|(key, value)| (key.clone(), value.clone())));
    } else {
        all.extend(from_options(o));
    }
    all.insert("NetworkMode".into(), mode.into());
    if all.get("ShmSize").and_then(Value::as_u64).unwrap_or(0) == 0 {
        all.insert("ShmSize".into(), (64 << 20).into());
    }
    if all["LogConfig"]["Type"] == "" {
        all.insert(
            "LogConfig".into(),
            json!({"Type": "json-file", "Config": {}}),
        );
    }
    for (key, default) in [("IpcMode", "private"), ("CgroupnsMode", "private")] {
        if all[key] == "" {
            all.insert(key.into(), default.into());
        }
    }
    Value::Object(all)
}

fn from_options(o: &ContainerOptions) -> Map<String, Value> {
    let (name, most) = match o.restart {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure { max } => ("on-failure", max.unwrap_or(0)),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    };
    let value = json!({
        "AutoRemove": o.auto_remove,
        "CapAdd": o.cap_add,
        "CapDrop": o.cap_drop,
        "Memory": o.memory.unwrap_or(0),
        "NanoCpus": o.milli_cpus.unwrap_or(0).saturating_mul(1_000_000),
        "PidsLimit": o.pids_limit.unwrap_or(2048),
        "PortBindings": bindings(o),
        "ReadonlyRootfs": o.read_only,
        "RestartPolicy": {"Name": name, "MaximumRetryCount": most},
        "ShmSize": o.shm_size.unwrap_or(0),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn bindings(o: &ContainerOptions) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &o.ports {
        let ip = port.host_ip.map_or(String::new(), |ip| ip.to_string());
        let binding = json!({"HostIp": ip, "HostPort": port.host_port.to_string()});
        all.entry(port_name(port.container_port, port.protocol))
            .or_default()
            .push(binding);
    }
    all
}

fn port_name(port: u16, protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => format!("{port}/tcp"),
        Protocol::Udp => format!("{port}/udp"),
    }
}

fn own_config(engine: &Engine, c: &Container, sent: &Value) -> Value {
    let o = &c.config.options;
    let image = engine.store.find(&c.config.image_id);
    let image = image.as_ref().and_then(|i| i.config.config().clone());
    let image = image.unwrap_or_default();
    let mut env = image.env().clone().unwrap_or_default();
    for pair in &o.env {
        let key = pair.split('=').next().unwrap_or_default();
        env.retain(|e| e.split('=').next() != Some(key));
        env.push(pair.clone());
    }
    if !env.iter().any(|e| e.starts_with("PATH=")) {
        env.push(format!("PATH={}", crate::container::defaults::PATH));
    }
    let mut labels: BTreeMap<String, String> = image
        .labels()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    labels.extend(o.labels.clone());
    let command = match (o.command.is_empty(), &o.entrypoint) {
        (false, _) => Some(o.command.clone()),
        (true, None) => image.cmd().clone(),
        (true, Some(_)) => None,
    };
    let said = |key: &str| sent.get(key).cloned().unwrap_or(Value::Bool(false));
    let or_image = |own: Option<String>, image: &Option<String>| {
        own.or_else(|| image.clone()).unwrap_or_default()
    };
    let workdir = o.workdir.as_ref().map(|w| w.display().to_string());
    let mut config = json!({
        "Hostname": o.hostname.clone().unwrap_or_else(|| c.config.id[..12].to_owned()),
        "Domainname": "",
        "User": or_image(o.user.clone(), image.user()),
        "AttachStdin": said("AttachStdin"),
        "AttachStdout": said("AttachStdout"),
        "AttachStderr": said("AttachStderr"),
        "Tty": o.tty,
        "OpenStdin": o.stdin,
        "StdinOnce": said("StdinOnce"),
        "Env": env,
        "Cmd": command,
        "Image": o.image,
        "Volumes": sent.get("Volumes"),
        "WorkingDir": or_image(workdir, image.working_dir()),
        "Entrypoint": o.entrypoint.clone().or_else(|| image.entrypoint().clone()),
        "OnBuild": null,
        "Labels": labels,
    });
    if let Some(exposed) = sent.get("ExposedPorts").filter(|e| !e.is_null()) {
        config["ExposedPorts"] = exposed.clone();
    }
    if let Some(signal) = sent.get("StopSignal").filter(|s| s.is_string()) {
        config["StopSignal"] = signal.clone();
    }
    if let Some(check) = &c.config.health {
        config["Healthcheck"] = check::to_docker(check);
    }
    if let Some(timeout) = o.stop_timeout {
        config["StopTimeout"] = timeout.into();
    }
    config
}

/// The network that it was created in.
pub fn network_mode(c: &Container, networks: &Value) -> String {
    let o = &c.config.options;
    let wanted = match (o.network, o.networks.first()) {
        (NetworkMode::Host, _) => return "host".into(),
        (NetworkMode::None, _) => return "none".into(),
        (NetworkMode::Bridge, None) => return "bridge".into(),
        (NetworkMode::Bridge, Some(join)) => join.network.as_str(),
    };
    let known = networks.as_object().into_iter().flatten();
    let is_it = |name: &str, told: &Value| {
        name == wanted
            || told["NetworkID"]
                .as_str()
                .is_some_and(|id| id.starts_with(wanted))
    };
    let mut found = known.filter(|(name, told)| is_it(name, told));
    found.next().map_or(wanted, |(name, _)| name).to_owned()
}

/// Its volumes and binds.
pub fn mounts(engine: &Engine, c: &Container) -> Value {
    let each = c.config.options.mounts.iter().map(|mount| {
        let anonymous = c.config.anonymous.iter().find(|(t, _)| *t == mount.target);
        let name = match &mount.source {
            MountSource::Volume(name) => Some(name.clone()),
            MountSource::Anonymous => anonymous.map(|(_, name)| name.clone()),
            MountSource::Bind(_) => None,
        };
        let mode = if mount.read_only { "ro" } else { "" };
        let mut told = json!({
            "Type": "bind", "Source": "", "Destination": mount.target, "Mode": mode,
            "RW": !mount.read_only, "Propagation": "rprivate",
        });
        match (&mount.source, name) {
            (MountSource::Bind(path), _) => told["Source"] = json!(path),
            (_, Some(name)) => {
                told["Type"] = "volume".into();
                told["Source"] = json!(engine.shelf.volumes().join(&name).join("_data"));
                told["Name"] = name.into();
                told["Driver"] = "local".into();
                told["Mode"] = if mount.read_only { "ro" } else { "z" }.into();
                told["Propagation"] = "".into();
            }
            _ => {}
        }
        told
    });
    Value::Array(each.collect())
}

/// Bytes of what it has written over its image.
pub fn own_bytes(engine: &Engine, id: &str) -> u64 {
    fn below(folder: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => below(&entry.path()),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        });
        sizes.sum()
    }
    below(&engine.shelf.container(id).join("upper"))
}
