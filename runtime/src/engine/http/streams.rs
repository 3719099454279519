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
use crate::engine::log::follow::{Wanted, follow};
use crate::engine::log::read::Chunk;
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
    let wanted = Wanted {
        follow: query.follow,
        since_ns: query.since.unwrap_or(0).saturating_mul(1_000_000_000),
        tail: query.tail,
    };
    let framed = |line: &Chunk| {
        let kind = Container::frame_kind(line.stream);
        Some(frame(kind, line.time_ns, &line.bytes))
    };
    tokio::spawn(async move { follow(&container, wanted, framed, sender).await });
    let stream = futures_util::stream::unfold(receiver, |mut lines| async move {
        let line: Vec<u8> = lines.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    Ok(Body::from_stream(stream).into_response())
}
