//! The room that images, containers and volumes take.
//!
//! Counted when asked, off the loop.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde_json::{Value, json};

use super::{Answer, images, volumes};
use crate::engine::Engine;
use crate::engine::container::Container;
use crate::engine::docker::Arced;
use crate::engine::error::Error;

pub async fn df(Shared(engine): Arced) -> Answer<Json<Value>> {
    let apart = engine.clone();
    let counted = tokio::task::spawn_blocking(move || count(&apart));
    let counted = counted.await.map_err(|e| Error::failed(e.to_string()))?;
    Ok(Json(counted?))
}

fn count(engine: &Arc<Engine>) -> Result<Value, Error> {
    let all = engine.store.list();
    let images: Vec<Value> = all
        .iter()
        .map(|image| images::summary(engine, image, &all, true))
        .collect();
    let containers: Vec<Value> = engine.all().iter().map(|c| container(engine, c)).collect();
    let names = crate::engine::volumes::list(&engine.shelf.volumes())?;
    let volumes: Vec<Value> = names
        .iter()
        .map(|(name, _)| volumes::with_usage(engine, name))
        .collect();
    Ok(json!({
        "LayersSize": images::room(engine),
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": [],
    }))
}

fn container(engine: &Engine, container: &Container) -> Value {
    let config = &container.config;
    let upper = engine.shelf.container(&config.id).join("upper");
    let state = container.state();
    json!({
        "Id": config.id,
        "Names": [format!("/{}", config.name)],
        "Image": config.options.image,
        "ImageID": config.image_id,
        "Command": config.command,
        "Created": config.created,
        "SizeRw": crate::engine::volumes::size(&upper),
        "Labels": config.options.labels,
        "State": state.phase.to_string(),
        "Status": state.phase.to_string(),
        "Mounts": [],
    })
}
