//! What is not a container: networks, volumes, images, logins, and the room that all of it takes.
//!
//! Paths without the version in front, which the router of the whole API takes off.

mod distribution;
// What containers show comes with their routes.
#[allow(dead_code)]
pub mod endpoints;
mod image_names;
mod images;
mod networks;
mod null;
mod pull;
mod refused;
mod system;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use super::asked::Filters;
use super::refusal::Refusal;
use crate::engine::Engine;

type Answer<T> = Result<T, Refusal>;

/// Whether all labels of the filter `label` are there, and none of `label!`.
fn has_labels(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    let has = |wanted: &String| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
    };
    filters.labels("label", labels) && !filters.of("label!").iter().any(has)
}

/// The routes.
pub fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route(
            "/networks/{id}",
            get(networks::inspect).delete(networks::remove),
        )
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route(
            "/volumes/{name}",
            get(volumes::inspect).delete(volumes::remove),
        )
        .route("/images/json", get(images::list))
        .route("/images/create", post(pull::create))
        .route("/images/prune", post(images::prune))
        .route("/images/search", get(refused::search))
        .route("/images/load", post(refused::load))
        .route("/images/get", get(refused::save))
        .route("/images/{name}", delete(images::remove))
        .route("/images/{name}/json", get(image_names::inspect))
        .route("/images/{name}/history", get(image_names::history))
        .route("/images/{name}/tag", post(image_names::tag))
        .route("/images/{name}/push", post(refused::push))
        .route("/images/{name}/get", get(refused::save))
        .route("/auth", post(distribution::login))
        .route("/distribution/{name}/json", get(distribution::inspect))
        .route("/system/df", get(system::df))
        .route("/build", post(refused::build))
        .route("/build/prune", post(refused::build_prune))
        .route("/commit", post(refused::commit))
        .route("/session", post(refused::build))
}
