//! What is not done to containers, and what to do instead.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::super::refusal::Refusal;
use crate::engine::Engine;

pub fn routes() -> Router<Arc<Engine>> {
    Router::new().route("/containers/{id}/attach/ws", get(attach))
}

async fn attach() -> Refusal {
    Refusal::unsupported("attaching by WebSocket", "use /containers/{id}/attach")
}
