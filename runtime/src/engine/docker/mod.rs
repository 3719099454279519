//! Docker's Engine API on a socket of its own: what clients say of it is in docs/DOCKER.md.
//!
//! It translates, and decides nothing about containers. What it does not do it refuses by name.

// Most routes that use it come with the containers.
#[allow(dead_code)]
pub mod asked;
mod listen;
mod objects;
#[allow(dead_code)]
pub mod refusal;
mod system;
#[allow(dead_code)]
pub mod time;
mod tls;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;

use super::Engine;
use refusal::Refusal;

pub use listen::serve;

/// What handlers are given.
pub type Arced = Shared<Arc<Engine>>;

/// All routes, with and without a version before them.
fn router(engine: Arc<Engine>) -> Router {
    let routes = Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .merge(objects::routes())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_page)
        .with_state(engine);
    version::around(routes)
}

async fn no_such_page() -> Refusal {
    Refusal::not_found("page not found")
}
