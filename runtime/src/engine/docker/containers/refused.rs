//! What is not done to containers, and what to do instead.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::super::refusal::Refusal;
use crate::engine::Engine;

pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
        .route("/containers/{id}/attach/ws", get(attach))
}

async fn rename() -> Refusal {
    let instead = "create the container anew with the other name";
    Refusal::unsupported("renaming a container", instead)
}

async fn update() -> Refusal {
    let instead = "create the container anew with the other limits";
    Refusal::unsupported("changing a container's limits", instead)
}

async fn attach() -> Refusal {
    Refusal::unsupported("attaching by WebSocket", "use /containers/{id}/attach")
}
