//! The HTTP API: routes, and nothing that a route does not need.
//!
//! Everything is below `/v1` of this program's own; another API can be merged into the same router.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Engine;
use super::api::{
    Created, EngineStatus, ExecOptions, ImageSummary, Summary, Told, UnitSummary, VolumeSummary,
    Waited, frame,
};
use super::container::{Container, lock};
use super::create;
use super::error::Error;
use super::exec;
use super::log::lines::{Lines, Tail};
use super::log::read::{Chunk, Reader};
use super::machine::Event;
use super::options::{ContainerOptions, MountSource, PullPolicy};
use super::record::{Phase, StoppedBy};
use super::session;
use super::{units, volumes};

type Answer<T> = Result<Json<T>, Error>;
type Arced = Shared<Arc<Engine>>;

/// All routes.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/units", get(list_units))
        .route("/v1/containers", get(list).post(create_container))
        .route("/v1/containers/{id}", get(inspect).delete(remove))
        .route("/v1/containers/{id}/start", post(start))
        .route("/v1/containers/{id}/stop", post(stop))
        .route("/v1/containers/{id}/restart", post(restart))
        .route("/v1/containers/{id}/kill", post(kill))
        .route("/v1/containers/{id}/wait", post(wait))
        .route("/v1/containers/{id}/logs", get(logs))
        .route("/v1/containers/{id}/attach", post(attach))
        .route("/v1/containers/{id}/exec", post(exec_in))
        .route("/v1/images", get(images).delete(remove_image))
        .route("/v1/images/pull", post(pull))
        .route("/v1/volumes", get(list_volumes))
        .route("/v1/volumes", delete(remove_volume))
        .fallback(no_such_route)
        .with_state(engine)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body())).into_response()
    }
}

async fn no_such_route() -> Error {
    Error::not_found("no such request: the client and the engine may be of different versions")
}

async fn status(Shared(engine): Arced) -> Json<EngineStatus> {
    let all = engine.all();
    let running = all.iter().filter(|c| c.state().phase.is_up()).count();
    Json(EngineStatus {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        degraded: lock(&engine.troubles).values().cloned().collect(),
        running,
        containers: all.len(),
        images: engine.store.list().len(),
    })
}

async fn list_units(Shared(engine): Arced) -> Json<Vec<UnitSummary>> {
    Json(units::list(&engine))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    all: bool,
}

async fn list(Shared(engine): Arced, Query(query): Query<ListQuery>) -> Json<Vec<Summary>> {
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
    }
}

async fn inspect(Shared(engine): Arced, Path(id): Path<String>) -> Answer<serde_json::Value> {
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

async fn create_container(
    Shared(engine): Arced,
    Json(options): Json<ContainerOptions>,
) -> Response {
    let (told, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        let policy = options.pull;
        let progress = Some(told.clone());
        let created = match engine.puller.get(&options.image, policy, progress).await {
            Ok(image) => create::create(&engine, options, &image),
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

#[derive(Deserialize)]
struct PullQuery {
    reference: String,
}

async fn pull(Shared(engine): Arced, Query(query): Query<PullQuery>) -> Response {
    let (told, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        let name = query.reference;
        let progress = Some(told.clone());
        let last = match engine.puller.get(&name, PullPolicy::Always, progress).await {
            Ok(image) => Told::Image {
                name,
                id: image.id.to_string(),
            },
            Err(e) => Told::Error(e.body()),
        };
        let _ = told.send(last).await;
    });
    ndjson(lines)
}

fn ndjson(lines: mpsc::Receiver<Told>) -> Response {
    let stream = futures_util::stream::unfold(lines, |mut lines| async move {
        let told = lines.recv().await?;
        let mut line = serde_json::to_vec(&told).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(stream)).into_response()
}

async fn start(Shared(engine): Arced, Path(id): Path<String>) -> Answer<()> {
    let container = engine.find(&id)?;
    start_one(&container).await.map(Json)
}

async fn start_one(container: &Container) -> Result<(), Error> {
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
struct StopQuery {
    timeout: Option<u64>,
}

async fn stop(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<StopQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    stop_one(&container, query.timeout).await;
    Ok(Json(()))
}

/// Asks for the end and waits for it; a removal meanwhile is an end as well.
async fn stop_one(container: &Container, timeout: Option<u64>) {
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

async fn restart(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<StopQuery>,
) -> Answer<()> {
    let container = engine.find(&id)?;
    stop_one(&container, query.timeout).await;
    start_one(&container).await.map(Json)
}

#[derive(Deserialize)]
struct KillQuery {
    signal: i32,
}

async fn kill(
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
struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

async fn remove(
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

async fn wait(Shared(engine): Arced, Path(id): Path<String>) -> Answer<Waited> {
    let container = engine.find(&id)?;
    let mut watch = container.watch();
    let ended = watch.wait_for(|s| session::ended(s).is_some()).await;
    let state = ended.map_or_else(|_| container.state(), |s| s.clone());
    let gone = || Error::not_found(format!("container '{id}' was removed"));
    session::ended(&state).map(Json).ok_or_else(gone)
}

#[derive(Deserialize)]
struct AttachQuery {
    #[serde(default)]
    stdin: bool,
}

async fn attach(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<AttachQuery>,
    mut request: axum::extract::Request,
) -> Result<Response, Error> {
    let container = engine.find(&id)?;
    // From here on the log has a follower: a container that removes itself waits for it.
    let upgrade = upgrade_of(&mut request)?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                session::attach(container, TokioIo::new(connection), query.stdin).await;
            }
            Err(e) => tracing::debug!("attach: {e}"),
        }
    });
    Ok(switching())
}

async fn exec_in(
    Shared(engine): Arced,
    Path(id): Path<String>,
    mut request: axum::extract::Request,
) -> Result<Response, Error> {
    let container = engine.find(&id)?;
    let upgrade = upgrade_of(&mut request);
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .map_err(|e| Error::invalid(format!("read the request: {e}")))?;
    let options: ExecOptions = serde_json::from_slice(&body)
        .map_err(|e| Error::invalid(format!("read the request: {e}")))?;
    let upgrade = if options.detach { None } else { Some(upgrade?) };
    let (mut session, streams) = exec::start(&engine, &container, &options).await?;
    let Some(upgrade) = upgrade else {
        tokio::spawn(async move { session.wait().await });
        return Ok(Json(()).into_response());
    };
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => session::exec(session, streams, TokioIo::new(connection)).await,
            Err(e) => tracing::debug!("exec: {e}"),
        }
    });
    Ok(switching())
}

fn upgrade_of(request: &mut axum::extract::Request) -> Result<OnUpgrade, Error> {
    let asked = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|v| v == "skeg");
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .filter(|_| asked);
    upgrade.ok_or_else(|| Error::invalid("expected the header 'upgrade: skeg'"))
}

fn switching() -> Response {
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "skeg")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[derive(Deserialize)]
struct LogsQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<u64>,
    since: Option<u64>,
}

async fn logs(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Error> {
    let container = engine.find(&id)?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move { tell_lines(&container, &query, sender).await });
    let stream = futures_util::stream::unfold(receiver, |mut lines| async move {
        let line: Vec<u8> = lines.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    Ok(Body::from_stream(stream).into_response())
}

async fn tell_lines(container: &Container, query: &LogsQuery, to: mpsc::Sender<Vec<u8>>) {
    let mut bell = container.log.bell();
    let mut state = container.watch();
    let mut reader = Reader::new(container.log.folder());
    let mut lines = Lines::default();
    let since = query.since.unwrap_or(0).saturating_mul(1_000_000_000);
    let mut tail = query.tail.map(Tail::new);
    loop {
        bell.mark_unchanged();
        let up = {
            let state = state.borrow_and_update();
            session::ended(&state).is_none() && state.phase != Phase::Created
                || state.phase == Phase::Restarting
        };
        let going_on = query.follow && up;
        loop {
            let chunk = match reader.next_chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(e) => return tracing::error!("read the log of {}: {e}", container.config.name),
            };
            let mut whole = Vec::new();
            lines.push(&chunk, &mut whole);
            whole.retain(|l| l.time_ns >= since);
            match &mut tail {
                Some(tail) => tail.extend(whole),
                None => {
                    if !send(&to, whole).await {
                        return;
                    }
                }
            }
        }
        if !going_on {
            let mut rest = Vec::new();
            lines.finish(&mut rest);
            if let Some(tail) = &mut tail {
                tail.extend(std::mem::take(&mut rest));
            }
            let kept = tail.take().map(Tail::into_lines).unwrap_or_default();
            send(&to, kept).await;
            send(&to, rest).await;
            return;
        }
        if let Some(tail) = tail.take()
            && !send(&to, tail.into_lines()).await
        {
            return;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
            () = to.closed() => return,
        }
    }
}

async fn send(to: &mpsc::Sender<Vec<u8>>, lines: impl IntoIterator<Item = Chunk>) -> bool {
    for line in lines {
        let kind = Container::frame_kind(line.stream);
        if to
            .send(frame(kind, line.time_ns, &line.bytes))
            .await
            .is_err()
        {
            return false;
        }
    }
    true
}

async fn images(Shared(engine): Arced) -> Json<Vec<ImageSummary>> {
    let list = engine.store.list();
    let summaries = list.iter().map(|image| ImageSummary {
        id: image.id.to_string(),
        names: image
            .names
            .iter()
            .map(crate::image::Reference::familiar)
            .collect(),
        size: image.size,
        pulled: image
            .pulled_at
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
    });
    Json(summaries.collect())
}

#[derive(Deserialize)]
struct NameQuery {
    name: String,
}

async fn remove_image(Shared(engine): Arced, Query(query): Query<NameQuery>) -> Answer<()> {
    let used: Vec<String> = engine
        .all()
        .iter()
        .map(|c| c.config.image_id.clone())
        .collect();
    let images = engine.store.list();
    let in_use: Vec<_> = images
        .into_iter()
        .map(|image| image.id)
        .filter(|id| used.contains(&id.to_string()))
        .collect();
    let apart = engine.clone();
    let removed = tokio::task::spawn_blocking(move || apart.store.remove(&query.name, &in_use));
    match removed.await.map_err(|e| Error::failed(e.to_string()))? {
        Ok(()) => Ok(Json(())),
        Err(e @ crate::image::StoreError::NotFound(_)) => Err(Error::not_found(e.to_string())),
        Err(e @ crate::image::StoreError::InUse(_)) => Err(Error::conflict(e.to_string())),
        Err(e) => Err(Error::failed(e.to_string())),
    }
}

async fn list_volumes(Shared(engine): Arced) -> Answer<Vec<VolumeSummary>> {
    let found = volumes::list(&engine.shelf.volumes())?;
    let summaries = found.into_iter().map(|(name, path)| VolumeSummary {
        containers: users_of(&engine, &name),
        path: path.display().to_string(),
        name,
    });
    Ok(Json(summaries.collect()))
}

fn users_of(engine: &Engine, volume: &str) -> Vec<String> {
    let uses = |c: &&Arc<Container>| {
        let named = MountSource::Volume(volume.to_string());
        c.config.options.mounts.iter().any(|m| m.source == named)
            || c.config.anonymous.iter().any(|(_, name)| name == volume)
    };
    engine
        .all()
        .iter()
        .filter(uses)
        .map(|c| c.config.name.clone())
        .collect()
}

async fn remove_volume(Shared(engine): Arced, Query(query): Query<NameQuery>) -> Answer<()> {
    let users = users_of(&engine, &query.name);
    if !users.is_empty() {
        let (name, users) = (&query.name, users.join(", "));
        return Err(Error::conflict(format!(
            "volume '{name}' is used by {users}: remove them first"
        )));
    }
    volumes::remove(&engine.shelf.volumes(), &query.name).map(Json)
}
