//! Requests about containers that are answered at once: lists, starts, stops, removals.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::asked::{Query, Sent};
use super::{Answer, Arced, ndjson};
use crate::engine::api::{Created, Summary, Told, Waited};
use crate::engine::container::Container;
use crate::engine::create;
use crate::engine::error::Error;
use crate::engine::machine::Event;
use crate::engine::options::ContainerOptions;
use crate::engine::record::{Phase, StoppedBy};
use crate::engine::{session, units};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    Shared(engine): Arced,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Summary>> {
    let all = engine.all();
    let summaries = all.iter().rev().map(|c| summary(c));
    let shown = |s: &Summary| query.all || !matches!(s.phase, Phase::Created | Phase::Exited);
    Json(summaries.filter(shown).collect())
}

fn summary(container: &Container) -> Summary {
    let (config, state) = (&container.config, container.state());
    let network = state.network.as_ref();
    Summary {
        id: config.id.clone(),
        name: config.name.clone(),
        image: config.options.image.clone(),
        command: config.command.clone(),
        created: config.created,
        phase: state.phase,
        pid: state.process.map(|p| p.pid),
        started: state.started_ns.map(|ns| ns / 1_000_000_000),
        exit: state.exit,
        error: state.error.clone(),
        restarts: state.restarts,
        ports: network.map(|n| n.ports.clone()).unwrap_or_default(),
        ip: network.map(|n| n.ip.to_string()),
        unit: config.options.unit.clone(),
        health: state.health,
        waiting: state.waiting,
        late: state.late,
    }
}

pub(super) async fn inspect(
    Shared(engine): Arced,
    Path(id): Path<String>,
) -> Answer<serde_json::Value> {
    let container = engine.find(&id)?;
    let id = &container.config.id;
    let cgroup = engine.cgroup_of(id);
    let usage = cgroup.and_then(|path| crate::container::cgroup::Cgroup::open(&path).ok());
    Ok(Json(serde_json::json!({
        "id": id,
        "name": container.config.name,
        "config": container.config,
        "state": container.state(),
        "log": container.log.folder(),
        "usage": usage.and_then(|cgroup| cgroup.usage().ok()),
    })))
}

pub(super) async fn create_container(
    Shared(engine): Arced,
    Sent(options): Sent<ContainerOptions>,
) -> Response {
    let (told, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        let policy = options.pull;
        let progress = Some(told.clone());
        let created = match engine.puller.get(&options.image, policy, progress).await {
            Ok(image) => create::create(&engine, options, &image).await,
            Err(e) => Err(e),
        };
        let last = match created {
            Ok(container) => Told::Created(Created {
                id: container.config.id.clone(),
                name: container.config.name.clone(),
            }),
            Err(e) => Told::Error(e.body()),
        };
        let _ = told.send(last).await;
    });
    ndjson(lines)
}

pub(super) async fn start(Shared(engine): Arced, Path(id): Path<String>) -> Answer<()> {
    let container = engine.find(&id)?;
    start_one(&container).await.map(Json)
}

pub(super) async fn start_one(container: &Container) -> Result<(), Error> {
    let before = container.state();
    if before.phase == Phase::Stopping {
        let name = &container.config.name;
        return Err(Error::conflict(format!(
            "container '{name}' is being stopped: wait for it"
        )));
    }
    let mut watch = container.watch();
    container.tell(Event::Start { keen: false }).await?;
    // A short run with --rm may be over and gone by now: then it did start.
    let Ok(state) = watch.wait_for(|s| s.phase != Phase::Starting).await else {
        return Ok(());
    };
    match &state.error {
        Some(error) if !state.phase.is_up() => Err(Error {
            message: error.clone(),
            status: 500,
            exit: state.error_code.max(1),
        }),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StopQuery {
    timeout: Option<u64>,
}

pub(super) async fn stop(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<StopQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    stop_one(&container, query.timeout).await;
    Ok(Json(()))
}

/// Asks for the end and waits for it; a removal meanwhile is an end as well.
pub(super) async fn stop_one(container: &Container, timeout: Option<u64>) {
    let event = Event::Stop {
        by: StoppedBy::User,
        timeout: timeout.map(Duration::from_secs),
    };
    if container.tell(event).await.is_ok() {
        let _ = container
            .until(|s| !s.phase.is_up() && s.phase != Phase::Starting)
            .await;
    }
}

pub(super) async fn restart(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<StopQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    stop_one(&container, query.timeout).await;
    start_one(&container).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillQuery {
    signal: i32,
}

pub(super) async fn kill(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<KillQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    if !(1..=64).contains(&query.signal) {
        return Err(Error::invalid(format!(
            "expected a signal from 1 to 64, found {}",
            query.signal
        )));
    }
    if !container.state().phase.is_up() {
        let name = &container.config.name;
        return Err(Error::conflict(format!("container '{name}' does not run")));
    }
    container.tell(Event::Signal(query.signal)).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn remove(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    let phase = container.state().phase;
    if !query.force && !matches!(phase, Phase::Created | Phase::Exited) {
        let name = &container.config.name;
        return Err(Error::conflict(format!(
            "container '{name}' is {phase}: stop it first (skeg stop {name}), or remove it with --force"
        )));
    }
    units::remove(&container).await;
    Ok(Json(()))
}

pub(super) async fn wait(Shared(engine): Arced, Path(id): Path<String>) -> Answer<Waited> {
    let container = engine.find(&id)?;
    let mut watch = container.watch();
    let ended = watch.wait_for(|s| session::ended(s).is_some()).await;
    let state = ended.map_or_else(|_| container.state(), |s| s.clone());
    let gone = || Error::not_found(format!("container '{id}' was removed"));
    session::ended(&state).map(Json).ok_or_else(gone)
}
