//! Containers, as Docker's API has them.
//!
//! Each request is one or two calls of the engine's own; what it keeps for this API alone is the body of
//! the creation, for inspections.

mod archive;
mod attach;
mod changed;
mod execs;
mod inspect;
mod life;
mod list;
mod logs;
mod refused;
mod stats;
mod top;
pub mod wish;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

pub use execs::Exec;
pub use logs::stream;

use super::super::container::Container;
use super::super::options::PullPolicy;
use super::super::{Engine, create};
use super::Arced;
use super::asked::{Asked, Sent};
use super::refusal::Refusal;

/// The routes of containers and of processes in them.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/json", get(list::list))
        .route("/containers/create", post(create_one))
        .route("/containers/prune", post(life::prune))
        .route("/containers/{id}", delete(life::remove))
        .route("/containers/{id}/json", get(inspect::inspect))
        .route("/containers/{id}/start", post(life::start))
        .route("/containers/{id}/stop", post(life::stop))
        .route("/containers/{id}/restart", post(life::restart))
        .route("/containers/{id}/kill", post(life::kill))
        .route("/containers/{id}/rename", post(changed::rename))
        .route("/containers/{id}/update", post(changed::update))
        .route("/containers/{id}/pause", post(life::pause))
        .route("/containers/{id}/unpause", post(life::unpause))
        .route("/containers/{id}/wait", post(life::wait))
        .route("/containers/{id}/logs", get(logs::logs))
        .route("/containers/{id}/attach", post(attach::attach))
        .route("/containers/{id}/resize", post(attach::resize_it))
        .route("/containers/{id}/top", get(top::top))
        .route("/containers/{id}/stats", get(stats::stats))
        .route(
            "/containers/{id}/archive",
            get(archive::get).put(archive::put).head(archive::head),
        )
        .route("/containers/{id}/export", get(archive::export))
        .route("/containers/{id}/changes", get(archive::changes))
        .route("/containers/{id}/exec", post(execs::create))
        .route("/exec/{id}/start", post(execs::start))
        .route("/exec/{id}/resize", post(execs::resize_it))
        .route("/exec/{id}/json", get(execs::inspect))
        .merge(refused::routes())
}

/// A container by id, name, or the beginning of its id, in dockerd's words when there is none.
fn find(engine: &Engine, id: &str) -> Result<Arc<Container>, Refusal> {
    engine.find(id).map_err(|e| match e.status {
        404 => Refusal::not_found(format!("No such container: {id}")),
        _ => e.into(),
    })
}

/// What it was created with, as a client sent it.
fn body_file(engine: &Engine, id: &str) -> PathBuf {
    engine.shelf.container(id).join("docker.json")
}

async fn create_one(
    Shared(engine): Arced,
    asked: Asked,
    Sent(body): Sent<Value>,
) -> Result<Response, Refusal> {
    let options = wish::options(asked.text("name"), body.clone())?;
    let image = options.image.clone();
    if asked.text("platform").is_some_and(|p| !is_ours(p)) {
        return Err(Refusal::not_found(format!(
            "image with reference {image} was found but does not match the specified platform"
        )));
    }
    let found = engine.puller.get(&image, PullPolicy::Never, None).await;
    let found = found.map_err(|_| no_such_image(&image))?;
    let container = create::create(&engine, options, &found).await;
    let container = container.map_err(|mut e| {
        if e.message.starts_with("the name '") {
            e.message = format!("Conflict. {}", e.message);
        }
        e
    })?;
    let id = &container.config.id;
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    let kept = sys::durable::write(&body_file(&engine, id), &bytes, 0o600);
    if let Err(e) = kept {
        tracing::warn!("keep the body of the creation of {id}: {e}");
    }
    let answer = json!({"Id": id, "Warnings": []});
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// dockerd's words, at which clients pull.
fn no_such_image(image: &str) -> Refusal {
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = if last.contains([':', '@']) {
        ""
    } else {
        ":latest"
    };
    Refusal::not_found(format!("No such image: {image}{tag}"))
}

/// `linux/amd64`, `amd64`.
fn is_ours(platform: &str) -> bool {
    let mut parts = platform.split('/');
    let last = parts.next_back().unwrap_or_default();
    let own = super::system::arch();
    last == own || platform.split('/').any(|part| part == own) || platform == "linux"
}

/// An id's path, of which handlers want nothing else.
type Id = Path<String>;
