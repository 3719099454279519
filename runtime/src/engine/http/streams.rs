//! Requests that go on for as long as the client listens: logs, attached runs, exec sessions.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Arced;
use super::asked::Query;
use crate::engine::api::{ExecOptions, frame};
use crate::engine::container::Container;
use crate::engine::error::Error;
use crate::engine::log::lines::{Lines, Tail};
use crate::engine::log::read::{Chunk, Reader};
use crate::engine::record::Phase;
use crate::engine::{exec, session};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachQuery {
    #[serde(default)]
    stdin: bool,
}

pub(super) async fn attach(
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

pub(super) async fn exec_in(
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
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<u64>,
    since: Option<u64>,
}

pub(super) async fn logs(
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

pub(super) async fn tell_lines(
    container: &Container,
    query: &LogsQuery,
    to: mpsc::Sender<Vec<u8>>,
) {
    let mut bell = container.log.bell();
    let mut state = container.watch();
    let mut reader = Reader::new(container.log.folder());
    let mut lines = Lines::default();
    let since = query.since.unwrap_or(0).saturating_mul(1_000_000_000);
    let mut tail = None;
    let mut is_first = true;
    loop {
        bell.mark_unchanged();
        let up = {
            let state = state.borrow_and_update();
            session::ended(&state).is_none() && state.phase != Phase::Created
                || state.phase == Phase::Restarting
        };
        let going_on = query.follow && up;
        if std::mem::take(&mut is_first)
            && let Some(limit) = query.tail
        {
            match measure(container, since, limit, going_on).await {
                Ok(measured) => tail = Some(measured),
                Err(e) => return tracing::error!("read the log of {}: {e}", container.config.name),
            }
        }
        loop {
            let chunk = match reader.next_chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(e) => return tracing::error!("read the log of {}: {e}", container.config.name),
            };
            let mut whole = Vec::new();
            lines.push(&chunk, &mut whole);
            whole.retain(|l| l.time_ns >= since);
            if let Some(tail) = &mut tail {
                tail.filter(&mut whole);
            }
            if !send(&to, whole).await {
                return;
            }
        }
        if !going_on {
            let mut rest = Vec::new();
            lines.finish(&mut rest);
            if let Some(tail) = &mut tail {
                tail.filter(&mut rest);
            }
            send(&to, rest).await;
            return;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
            () = to.closed() => return,
        }
    }
}

/// Counts off the runtime's thread: a log may be long.
async fn measure(
    container: &Container,
    since_ns: u64,
    limit: u64,
    follow: bool,
) -> std::io::Result<Tail> {
    let folder = container.log.folder().to_path_buf();
    tokio::task::spawn_blocking(move || Tail::measure(&folder, since_ns, limit, follow))
        .await
        .map_err(std::io::Error::other)?
}

pub(super) async fn send(
    to: &mpsc::Sender<Vec<u8>>,
    lines: impl IntoIterator<Item = Chunk>,
) -> bool {
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
