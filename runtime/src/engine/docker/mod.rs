//! Docker's Engine API on a socket of its own: what clients say of it is in docs/DOCKER.md.
//!
//! It translates, and decides nothing about containers. What it does not do it refuses by name.

pub mod asked;
pub mod body;
mod changes;
pub mod containers;
pub mod events;
mod listen;
mod objects;
mod pack;
pub mod refusal;
mod system;
pub mod time;
mod tls;
mod version;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::get;

use super::Engine;
use refusal::Refusal;

pub use listen::serve;

/// What the engine keeps for this API alone.
#[derive(Debug, Default)]
pub struct Kept {
    /// What happens.
    pub events: events::Events,
    /// Processes in containers.
    pub execs: Mutex<Vec<Arc<containers::Exec>>>,
}

/// What handlers are given.
pub type Arced = Shared<Arc<Engine>>;

/// All routes, with and without a version before them.
fn router(engine: Arc<Engine>) -> Router {
    let routes = Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .merge(objects::routes())
        .route("/events", get(events::events))
        .merge(containers::routes())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_page)
        .with_state(engine);
    version::around(routes)
}

async fn no_such_page() -> Refusal {
    Refusal::not_found("page not found")
}
