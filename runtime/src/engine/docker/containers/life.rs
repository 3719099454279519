//! Starts, ends, pauses and removals, with dockerd's answers.
//!
//! 304 says that there was nothing to do.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Arced;
use super::super::asked::Asked;
use super::super::events::Told;
use super::super::refusal::Refusal;
use super::{Id, find, inspect, list};
use crate::container::cgroup::Cgroup;
use crate::engine::container::Container;
use crate::engine::machine::Event;
use crate::engine::record::{Phase, State, StoppedBy};
use crate::engine::{Engine, session, units, values};

type Done = Result<StatusCode, Refusal>;

pub async fn start(Shared(engine): Arced, Path(id): Id) -> Done {
    let container = find(&engine, &id)?;
    if container.state().phase.is_up() {
        return Ok(StatusCode::NOT_MODIFIED);
    }
    start_one(&container).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start_one(container: &Container) -> Result<(), Refusal> {
    let mut watch = container.watch();
    container.tell(Event::Start { keen: false }).await?;
    // A short run that removes itself may be gone by now: then it did start.
    let Ok(state) = watch.wait_for(|s| s.phase != Phase::Starting).await else {
        return Ok(());
    };
    match &state.error {
        Some(error) if !state.phase.is_up() => Err(start_failed(&state, error)),
        _ => Ok(()),
    }
}

/// The client's exit status is made from dockerd's words: 127 for a program that is not there.
fn start_failed(state: &State, error: &str) -> Refusal {
    let (status, why) = match state.error_code {
        127 => (
            400,
            "executable file not found in $PATH: no such file or directory: ",
        ),
        126 => (400, "permission denied: "),
        _ => (500, ""),
    };
    let text = format!("failed to create task for container: {why}{error}");
    Refusal::new(status, text)
}

/// Seconds to wait before the kill; `-1` is for ever.
fn patience(asked: &Asked) -> Result<Option<Duration>, Refusal> {
    let seconds = asked.number("t")?;
    let long = |n| Duration::from_secs(u64::try_from(n).unwrap_or(u64::from(u32::MAX)));
    Ok(seconds.map(long))
}

pub async fn stop(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Done {
    let container = find(&engine, &id)?;
    let state = container.state();
    if !state.phase.is_up() && !matches!(state.phase, Phase::Starting | Phase::Restarting) {
        return Ok(StatusCode::NOT_MODIFIED);
    }
    stop_one(&engine, &container, &asked).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop_one(engine: &Engine, container: &Container, asked: &Asked) -> Result<(), Refusal> {
    let timeout = patience(asked)?;
    let signal = asked.text("signal").map(values::signal).transpose();
    let signal = signal.map_err(Refusal::invalid)?;
    thaw(engine, container).await;
    let up = container.state().phase.is_up();
    if let Some(signal) = signal.filter(|_| up) {
        container.tell(Event::Signal(signal)).await?;
        let ended = container.until(|s| !s.phase.is_up());
        let limit = timeout.unwrap_or(Duration::from_secs(10));
        if tokio::time::timeout(limit, ended).await.is_ok() {
            return Ok(());
        }
    }
    let event = Event::Stop {
        by: StoppedBy::User,
        timeout: if signal.is_some() {
            Some(Duration::ZERO)
        } else {
            timeout
        },
    };
    if container.tell(event).await.is_ok() {
        let down = |s: &State| !s.phase.is_up() && s.phase != Phase::Starting;
        // Removed meanwhile, it has ended as well.
        let _ = container.until(down).await;
    }
    engine
        .docker
        .events
        .tell(Told::container("stop", container));
    Ok(())
}

/// A frozen process takes no signal but the last.
async fn thaw(engine: &Engine, container: &Container) {
    if engine.is_paused(&container.config.id) {
        let _ = freeze(engine, container, false).await;
    }
}

async fn freeze(engine: &Engine, container: &Container, frozen: bool) -> Result<(), Refusal> {
    let path = engine.cgroup_of(&container.config.id);
    let path = path.ok_or_else(|| Refusal::new(500, "there are no cgroups"))?;
    Cgroup::open(&path)?.freeze(frozen).await?;
    Ok(())
}

pub async fn restart(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Done {
    let container = find(&engine, &id)?;
    if container.state().phase.is_up() {
        stop_one(&engine, &container, &asked).await?;
    }
    start_one(&container).await?;
    engine
        .docker
        .events
        .tell(Told::container("restart", &container));
    Ok(StatusCode::NO_CONTENT)
}

pub async fn kill(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Done {
    let container = find(&engine, &id)?;
    let signal = values::signal(asked.text("signal").unwrap_or("KILL"));
    let signal = signal.map_err(|_| {
        Refusal::invalid(format!(
            "invalid signal: {}",
            asked.text("signal").unwrap_or_default()
        ))
    })?;
    if !container.state().phase.is_up() {
        return Err(not_running(&container));
    }
    let mut told = Told::container("kill", &container);
    told.add("signal", &signal.to_string());
    engine.docker.events.tell(told);
    container.tell(Event::Signal(signal)).await?;
    if signal == 9 {
        let _ = container.until(|s| !s.phase.is_up()).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What is asked of a process that is not there.
pub fn not_running(container: &Container) -> Refusal {
    Refusal::conflict(format!("container {} is not running", container.config.id))
}

pub async fn pause(Shared(engine): Arced, Path(id): Id) -> Done {
    let container = find(&engine, &id)?;
    if !container.state().phase.is_up() {
        return Err(not_running(&container));
    }
    if engine.is_paused(&container.config.id) {
        let text = format!("Container {} is already paused", container.config.id);
        return Err(Refusal::conflict(text));
    }
    freeze(&engine, &container, true).await?;
    engine
        .docker
        .events
        .tell(Told::container("pause", &container));
    Ok(StatusCode::NO_CONTENT)
}

pub async fn unpause(Shared(engine): Arced, Path(id): Id) -> Done {
    let container = find(&engine, &id)?;
    if !engine.is_paused(&container.config.id) {
        let text = format!("Container {} is not paused", container.config.id);
        return Err(Refusal::conflict(text));
    }
    freeze(&engine, &container, false).await?;
    engine
        .docker
        .events
        .tell(Told::container("unpause", &container));
    Ok(StatusCode::NO_CONTENT)
}

pub async fn remove(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Done {
    if asked.flag("link") {
        return Err(Refusal::unsupported("a link", "use networks and names"));
    }
    let container = find(&engine, &id)?;
    let phase = container.state().phase;
    if !asked.flag("force") && !matches!(phase, Phase::Created | Phase::Exited) {
        let status = inspect::status(&engine, &container.config.id, &container.state());
        return Err(Refusal::conflict(format!(
            "cannot remove container \"/{}\": container is {status}: stop the container before removing or force remove",
            container.config.name
        )));
    }
    thaw(&engine, &container).await;
    units::remove(&container).await;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn prune(Shared(engine): Arced, asked: Asked) -> Result<Json<Value>, Refusal> {
    let filters = asked.filters(&["label", "label!", "until"])?;
    let until = filters.of("until").first();
    let until = until.map(|text| list::moment(text)).transpose()?;
    let (mut gone, mut bytes) = (Vec::new(), 0);
    for container in engine.all() {
        let config = &container.config;
        let is_down = matches!(container.state().phase, Phase::Created | Phase::Exited);
        let is_old = until.is_none_or(|t| config.created.saturating_mul(1_000_000_000) < t);
        let kept =
            !filters.of("label!").is_empty() && filters.labels("label!", &config.options.labels);
        // A unit's container is its unit's to remove.
        let is_free = config.options.unit.is_none();
        if is_down && is_old && is_free && !kept && filters.labels("label", &config.options.labels)
        {
            bytes += inspect::own_bytes(&engine, &config.id);
            units::remove(&container).await;
            gone.push(config.id.clone());
        }
    }
    Ok(Json(
        json!({"ContainersDeleted": gone, "SpaceReclaimed": bytes}),
    ))
}

/// The answer's head goes out at once: clients wait for it before they start the container.
pub async fn wait(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let condition = asked.text("condition").unwrap_or("not-running").to_owned();
    let mut watch = container.watch();
    let first = container.state();
    match condition.as_str() {
        "not-running" | "next-exit" | "removed" => {}
        other => return Err(Refusal::invalid(format!("invalid condition: \"{other}\""))),
    }
    let answer = async move {
        let is_over = |state: &State| match condition.as_str() {
            "next-exit" => state.exit != first.exit && session::ended(state).is_some(),
            "removed" => false,
            _ => matches!(state.phase, Phase::Created | Phase::Exited),
        };
        let ended = watch.wait_for(is_over).await.map(|s| s.clone());
        let state = ended.unwrap_or_else(|_| container.state());
        // Why it was never started is the answer to its start, and no error of the waiting.
        let code = session::ended(&state).map_or(0, |w| w.code);
        let mut text = json!({ "StatusCode": code }).to_string();
        text.push('\n');
        Ok::<_, Infallible>(text)
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body = Body::from_stream(futures_util::stream::once(answer));
    Ok((kind, body).into_response())
}
