//! The HTTP API: routes, and nothing that a route does not need.
//!
//! Everything is below `/v1` of this program's own; another API can be merged into the same router.

mod asked;
mod containers;
mod streams;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::mpsc;

use asked::Query;

use super::Engine;
use super::api::{EngineStatus, ImageSummary, Told, UnitSummary, VolumeSummary};
use super::container::lock;
use super::error::Error;
use super::options::PullPolicy;
use super::{units, volumes};

type Answer<T> = Result<Json<T>, Error>;
type Arced = Shared<Arc<Engine>>;

/// All routes.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/units", get(list_units))
        .route(
            "/v1/containers",
            get(containers::list).post(containers::create_container),
        )
        .route(
            "/v1/containers/{id}",
            get(containers::inspect).delete(containers::remove),
        )
        .route("/v1/containers/{id}/start", post(containers::start))
        .route("/v1/containers/{id}/stop", post(containers::stop))
        .route("/v1/containers/{id}/restart", post(containers::restart))
        .route("/v1/containers/{id}/kill", post(containers::kill))
        .route("/v1/containers/{id}/wait", post(containers::wait))
        .route("/v1/containers/{id}/logs", get(streams::logs))
        .route("/v1/containers/{id}/attach", post(streams::attach))
        .route("/v1/containers/{id}/exec", post(streams::exec_in))
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
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
struct NameQuery {
    name: String,
}

async fn remove_image(Shared(engine): Arced, Query(query): Query<NameQuery>) -> Answer<()> {
    let apart = engine.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let in_use = |id: &crate::image::ImageId| {
            let id = id.to_string();
            apart.all().iter().any(|c| c.config.image_id == id)
        };
        apart.store.remove(&query.name, in_use)
    });
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
    let users = volumes::users(engine, volume);
    users.iter().map(|c| c.config.name.clone()).collect()
}

async fn remove_volume(Shared(engine): Arced, Query(query): Query<NameQuery>) -> Answer<()> {
    let users = users_of(&engine, &query.name);
    if !users.is_empty() {
        let (name, users) = (&query.name, users.join(", "));
        return Err(Error::conflict(format!(
            "volume '{name}' is used by {users}: remove them first"
        )));
    }
    let removed =
        tokio::task::spawn_blocking(move || volumes::remove(&engine.shelf.volumes(), &query.name));
    removed
        .await
        .map_err(|e| Error::failed(e.to_string()))?
        .map(Json)
}
