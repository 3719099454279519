//! Images: lists, and what goes.
//!
//! What an image is called is docker's short form; ids are those of the configurations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::{Answer, has_labels};
use crate::engine::Engine;
use crate::engine::container::Container;
use crate::engine::docker::Arced;
use crate::engine::docker::asked::Asked;
use crate::engine::docker::refusal::Refusal;
use crate::engine::error::Error;
use crate::image::{Image, ImageId, Reference, StoreError};

pub async fn list(Shared(engine): Arced, asked: Asked) -> Answer<Json<Vec<Value>>> {
    let known = [
        "reference",
        "label",
        "label!",
        "dangling",
        "before",
        "since",
    ];
    let filters = asked.filters(&known)?;
    let dangling = filters.truth("dangling")?;
    let bound = |key: &str| match filters.of(key).first() {
        None => Ok(None),
        Some(name) => found(&engine, name).map(|image| Some(created(&image))),
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let shared = asked.flag("shared-size");
    let images = engine.store.list();
    let fits = |image: &&Image| {
        let at = created(image);
        filters.any("reference", |pattern| is_called(image, pattern))
            && has_labels(&filters, &labels(image))
            && dangling.is_none_or(|dangling| dangling == image.names.is_empty())
            && before.is_none_or(|before| at < before)
            && since.is_none_or(|since| at > since)
    };
    let mut shown: Vec<(u64, Value)> = images
        .iter()
        .filter(fits)
        .map(|image| (created(image), summary(&engine, image, &images, shared)))
        .collect();
    shown.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    Ok(Json(shown.into_iter().map(|(_, image)| image).collect()))
}

/// An image in a list.
pub fn summary(engine: &Engine, image: &Image, all: &[Image], shared: bool) -> Value {
    let of_others = |id| {
        all.iter()
            .any(|i| i.id != image.id && i.layers.contains(id))
    };
    let sizes = engine.store.layer_sizes(image);
    let layers = image.layers.iter().zip(sizes);
    let shared_size: u64 = layers
        .filter(|(id, _)| of_others(*id))
        .map(|(_, size)| size)
        .sum();
    let labels = labels(image);
    json!({
        "Containers": if shared { users(engine, &image.id).len().try_into().unwrap_or(-1_i64) } else { -1 },
        "Created": created(image),
        "Id": image.id.to_string(),
        "Labels": (!labels.is_empty()).then_some(labels),
        "ParentId": "",
        "RepoDigests": repo_digests(image),
        "RepoTags": repo_tags(image),
        "SharedSize": if shared { shared_size.try_into().unwrap_or(i64::MAX) } else { -1 },
        "Size": image.size,
    })
}

/// An image by whatever it is called, in docker's words if there is none.
pub fn found(engine: &Engine, name: &str) -> Result<Image, Error> {
    engine
        .store
        .find(name)
        .ok_or_else(|| Error::not_found(format!("No such image: {name}")))
}

/// Seconds since the epoch; what an image does not say is when it was pulled.
pub fn created(image: &Image) -> u64 {
    let said = image.config.created().as_deref().and_then(seconds);
    said.unwrap_or_else(|| {
        let since = image.pulled_at.duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    })
}

/// The seconds of an RFC 3339 time in UTC.
pub fn seconds(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from a date, in years that begin in March.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let (era, yoe) = (y / 400, y % 400);
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * m + 2) / 5 + day - 1;
    let days = (era * 146_097 + doe).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

pub fn repo_tags(image: &Image) -> Vec<String> {
    let tagged = image.names.iter().filter(|name| name.digest().is_none());
    tagged.map(Reference::familiar).collect()
}

pub fn repo_digests(image: &Image) -> Vec<String> {
    let pinned = |name: &Reference| name.with_digest(image.manifest_digest.clone()).familiar();
    let mut all: Vec<String> = image.names.iter().map(pinned).collect();
    all.sort();
    all.dedup();
    all
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    let config = image.config.config().as_ref();
    let labels = config.and_then(|config| config.labels().clone());
    labels.unwrap_or_default().into_iter().collect()
}

/// `redis`, `redis:7*`, `example.org/*`: a repository, or repository and tag.
fn is_called(image: &Image, pattern: &str) -> bool {
    image.names.iter().any(|name| {
        let full = name.familiar();
        let repository = full.split('@').next().unwrap_or_default();
        let repository = match repository.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => before,
            _ => repository,
        };
        fits(pattern, &full) || fits(pattern, repository)
    })
}

/// `*` is any number of characters but `/`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else {
                return false;
            };
            let reach = text.find('/').unwrap_or(text.len());
            (0..=reach)
                .filter(|at| text.is_char_boundary(*at))
                .any(|at| fits(rest, &text[at..]))
        }
    }
}

fn users(engine: &Engine, id: &ImageId) -> Vec<Arc<Container>> {
    let id = id.to_string();
    let all = engine.all().into_iter();
    all.filter(|c| c.config.image_id == id).collect()
}

pub async fn remove(
    Shared(engine): Arced,
    Path(name): Path<String>,
    asked: Asked,
) -> Answer<Json<Vec<Value>>> {
    let force = asked.flag("force");
    let image = found(&engine, &name)?;
    let by_name = name
        .parse::<Reference>()
        .ok()
        .filter(|r| image.names.contains(r));
    may_go(&engine, &image, &name, by_name.is_some(), force)?;
    let before: Vec<Reference> = match &by_name {
        Some(reference) => vec![reference.clone()],
        None => image.names.clone(),
    };
    let last = image.names.len() <= before.len();
    let mut told: Vec<Value> = before
        .iter()
        .map(|n| json!({ "Untagged": n.familiar() }))
        .collect();
    if last && !users(&engine, &image.id).is_empty() {
        // Forced: a container that does not run keeps the image, without a name.
        engine
            .store
            .untag(&image)
            .map_err(|e| Error::failed(e.to_string()))?;
        return Ok(Json(told));
    }
    if last {
        told.push(json!({ "Deleted": image.id.to_string() }));
        told.extend(layers_that_go(&engine, &image));
    }
    drop(image);
    gone(&engine, name).await?;
    Ok(Json(told))
}

fn may_go(
    engine: &Engine,
    image: &Image,
    name: &str,
    by_name: bool,
    force: bool,
) -> Result<(), Refusal> {
    let short = image.id.short();
    let refuse = |text: String| Err(Refusal::conflict(text));
    if !by_name && image.names.len() > 1 && !force {
        return refuse(format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        ));
    }
    if by_name && image.names.len() > 1 {
        return Ok(());
    }
    let users = users(engine, &image.id);
    let up = users.iter().find(|c| c.state().phase.is_up());
    let user = |c: &Container| c.config.id[..12].to_string();
    match (up, users.first()) {
        (Some(c), _) if by_name => {
            if force {
                return Ok(());
            }
            let user = user(c);
            refuse(format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {user} is using its referenced image {short}"
            ))
        }
        (Some(c), _) => {
            let user = user(c);
            refuse(format!(
                "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {user}"
            ))
        }
        (None, Some(c)) if !force => {
            let user = user(c);
            refuse(if by_name {
                format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - container {user} is using its referenced image {short}"
                )
            } else {
                format!(
                    "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {user}"
                )
            })
        }
        _ => Ok(()),
    }
}

/// As docker tells them: topmost first.
fn layers_that_go(engine: &Engine, image: &Image) -> Vec<Value> {
    let all = engine.store.list();
    let is_free = |id: &&_| {
        !all.iter()
            .any(|i| i.id != image.id && i.layers.contains(*id))
    };
    let layers = image.layers.iter().rev().filter(is_free);
    layers
        .map(|id| json!({ "Deleted": id.to_string() }))
        .collect()
}

async fn gone(engine: &Arc<Engine>, name: String) -> Result<(), Refusal> {
    let apart = engine.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let in_use = |id: &ImageId| !users(&apart, id).is_empty();
        apart.store.remove(&name, in_use)
    });
    let removed = removed.await.map_err(|e| Error::failed(e.to_string()))?;
    Ok(removed.map_err(|e| match e {
        StoreError::NotFound(name) => Error::not_found(format!("No such image: {name}")),
        StoreError::InUse(_) => Error::conflict(format!("conflict: {e}")),
        other => Error::failed(other.to_string()),
    })?)
}

pub async fn prune(Shared(engine): Arced, asked: Asked) -> Answer<Json<Value>> {
    let filters = asked.filters(&["dangling", "label", "label!"])?;
    let only_nameless = filters.truth("dangling")?.unwrap_or(true);
    let mut deleted = Vec::new();
    let before = room(&engine);
    for image in engine.store.list() {
        let goes = (image.names.is_empty() || !only_nameless)
            && has_labels(&filters, &labels(&image))
            && users(&engine, &image.id).is_empty();
        if !goes {
            continue;
        }
        let id = image.id.to_string();
        let names = image
            .names
            .iter()
            .map(|n| json!({ "Untagged": n.familiar() }));
        let mut told: Vec<Value> = names.collect();
        told.push(json!({ "Deleted": id }));
        told.extend(layers_that_go(&engine, &image));
        drop(image);
        // One that somebody uses by now stays.
        if gone(&engine, id).await.is_ok() {
            deleted.extend(told);
        }
    }
    let freed = before.saturating_sub(room(&engine));
    let deleted = (!deleted.is_empty()).then_some(deleted);
    Ok(Json(
        json!({ "ImagesDeleted": deleted, "SpaceReclaimed": freed }),
    ))
}

/// Bytes of all layers, each counted once.
pub fn room(engine: &Engine) -> u64 {
    let mut layers = BTreeMap::new();
    for image in engine.store.list() {
        let sizes = engine.store.layer_sizes(&image);
        layers.extend(image.layers.iter().map(ToString::to_string).zip(sizes));
    }
    layers.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_and_nonsense_is_none() {
        assert_eq!(seconds("2023-11-14T22:13:20Z"), Some(1_700_000_000));
        assert_eq!(seconds("1970-01-01T00:00:00.123456789Z"), Some(0));
        assert_eq!(seconds("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for text in [
            "",
            "yesterday",
            "0001-01-01T00:00:00Z",
            "2023-13-01T00:00:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn patterns_stop_at_slashes() {
        assert!(fits("redis", "redis") && fits("red*", "redis") && fits("*:7", "redis:7"));
        assert!(fits("example.org/*/x*", "example.org/a/x1"));
        assert!(!fits("*", "example.org/a") && !fits("red", "redis"));
    }
}
