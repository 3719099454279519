//! What is asked of one image.
//!
//! Reads, and gives names; nothing is fetched or removed.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Answer;
use super::images::{created, found, repo_digests, repo_tags, seconds};
use crate::engine::Engine;
use crate::engine::docker::asked::Asked;
use crate::engine::docker::{Arced, time};
use crate::engine::error::Error;
use crate::image::{Image, Reference};

pub async fn inspect(Shared(engine): Arced, Path(name): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(view(&engine, &found(&engine, &name)?)?))
}

pub async fn history(Shared(engine): Arced, Path(name): Path<String>) -> Answer<Json<Vec<Value>>> {
    Ok(Json(story(&engine, &found(&engine, &name)?)?))
}

pub async fn tag(
    Shared(engine): Arced,
    Path(name): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    let image = found(&engine, &name)?;
    let repository = asked.text("repo").unwrap_or_default();
    let text = match asked.text("tag") {
        None => repository.to_string(),
        Some(tag) => format!("{repository}:{tag}"),
    };
    let reference: Reference = text
        .parse()
        .map_err(|e| Error::invalid(format!("invalid reference format: {e}")))?;
    if reference.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference").into());
    }
    engine
        .store
        .tag(&image, reference)
        .map_err(|e| Error::failed(e.to_string()))?;
    Ok(StatusCode::CREATED)
}

fn view(engine: &Engine, image: &Image) -> Result<Value, Error> {
    let raw = engine
        .store
        .config_json(image)
        .map_err(|e| Error::failed(e.to_string()))?;
    let text = |key: &str| raw[key].as_str().unwrap_or_default().to_string();
    let layers: Vec<String> = image.layers.iter().map(ToString::to_string).collect();
    let mut seen = json!({
        "Id": image.id.to_string(),
        "RepoTags": repo_tags(image),
        "RepoDigests": repo_digests(image),
        "Parent": "",
        "Comment": "",
        "Created": raw["created"].as_str().map_or_else(|| time::rfc3339(created(image) * 1_000_000_000), str::to_string),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": raw["config"].clone(),
        "Architecture": text("architecture"),
        "Os": text("os"),
        "Size": image.size,
        "GraphDriver": { "Data": null, "Name": "overlay2" },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": time::rfc3339(0) },
    });
    if let Some(variant) = raw["variant"].as_str() {
        seen["Variant"] = json!(variant);
    }
    Ok(seen)
}

/// Newest first. Steps that made no layer have no bytes.
fn story(engine: &Engine, image: &Image) -> Result<Vec<Value>, Error> {
    let raw = engine
        .store
        .config_json(image)
        .map_err(|e| Error::failed(e.to_string()))?;
    let sizes = engine.store.layer_sizes(image);
    Ok(steps(
        &raw,
        &sizes,
        &image.id.to_string(),
        &repo_tags(image),
    ))
}

fn steps(raw: &Value, sizes: &[u64], id: &str, tags: &[String]) -> Vec<Value> {
    let mut sizes = sizes.iter();
    let none = Vec::new();
    let all = raw["history"].as_array().unwrap_or(&none);
    let mut told: Vec<Value> = all
        .iter()
        .map(|step| {
            let is_empty = step["empty_layer"].as_bool().unwrap_or(false);
            let size = if is_empty {
                0
            } else {
                sizes.next().copied().unwrap_or(0)
            };
            json!({
                "Comment": step["comment"].as_str().unwrap_or_default(),
                "Created": step["created"].as_str().and_then(seconds).unwrap_or(0),
                "CreatedBy": step["created_by"].as_str().unwrap_or_default(),
                "Id": "<missing>",
                "Size": size,
                "Tags": null,
            })
        })
        .collect();
    told.reverse();
    if let Some(first) = told.first_mut() {
        first["Id"] = json!(id);
        first["Tags"] = json!((!tags.is_empty()).then_some(tags));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_body_of_a_history() {
        let raw = json!({ "history": [
            { "created": "2023-11-14T22:13:20Z", "created_by": "ADD rootfs" },
            { "created": "2023-11-14T22:13:21Z", "created_by": "CMD [\"sh\"]", "empty_layer": true },
        ]});
        let told = steps(&raw, &[42], "sha256:ab", &["box:1".to_string()]);
        assert_eq!(
            json!(told).to_string(),
            r#"[{"Comment":"","Created":1700000001,"CreatedBy":"CMD [\"sh\"]","Id":"sha256:ab","Size":0,"Tags":["box:1"]},{"Comment":"","Created":1700000000,"CreatedBy":"ADD rootfs","Id":"<missing>","Size":42,"Tags":null}]"#
        );
        assert!(steps(&json!({}), &[1], "sha256:ab", &[]).is_empty());
    }
}
