//! Volumes, of driver `local`.
//!
//! What a volume was made with lies beside its content; one that only a container ever named has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::null::or_null;
use super::{Answer, has_labels};
use crate::engine::docker::asked::{Asked, Sent};
use crate::engine::docker::refusal::Refusal;
use crate::engine::docker::{Arced, time};
use crate::engine::error::Error;
use crate::engine::volumes::{self, Made, users};
use crate::engine::{Engine, clock, create, values};

/// The label of a volume that nobody gave a name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

pub async fn list(Shared(engine): Arced, asked: Asked) -> Answer<Json<Value>> {
    let known = ["name", "driver", "label", "label!", "dangling"];
    let filters = asked.filters(&known)?;
    let dangling = filters.truth("dangling")?;
    let mut shown = Vec::new();
    for (name, _) in volumes::list(&engine.shelf.volumes())? {
        let made = volumes::made(&engine.shelf.volumes(), &name);
        let fits = filters.any("name", |part| name.contains(part))
            && filters.any("driver", |driver| driver == "local")
            && has_labels(&filters, &made.labels)
            && dangling.is_none_or(|dangling| dangling == users(&engine, &name).is_empty());
        if fits {
            shown.push(view(&engine, &name, &made));
        }
    }
    Ok(Json(json!({ "Volumes": shown, "Warnings": null })))
}

fn view(engine: &Engine, name: &str, made: &Made) -> Value {
    let data = engine.shelf.volumes().join(name).join("_data");
    json!({
        "CreatedAt": time::rfc3339(made.created_ns),
        "Driver": "local",
        "Labels": (!made.labels.is_empty()).then_some(&made.labels),
        "Mountpoint": data,
        "Name": name,
        "Options": (!made.options.is_empty()).then_some(&made.options),
        "Scope": "local",
    })
}

/// As [`view`], with the room that it takes.
pub fn with_usage(engine: &Engine, name: &str) -> Value {
    let made = volumes::made(&engine.shelf.volumes(), name);
    let mut view = view(engine, name, &made);
    let size = volumes::size(&engine.shelf.volumes().join(name).join("_data"));
    view["UsageData"] = json!({ "Size": size, "RefCount": users(engine, name).len() });
    view
}

pub async fn inspect(Shared(engine): Arced, Path(name): Path<String>) -> Answer<Json<Value>> {
    there(&engine, &name)?;
    let made = volumes::made(&engine.shelf.volumes(), &name);
    Ok(Json(view(&engine, &name, &made)))
}

fn there(engine: &Engine, name: &str) -> Result<(), Error> {
    let valid = values::volume_name(name).is_ok();
    if valid && engine.shelf.volumes().join(name).is_dir() {
        return Ok(());
    }
    Err(Error::not_found(format!("get {name}: no such volume")))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub struct Create {
    #[serde(deserialize_with = "or_null")]
    name: String,
    #[serde(deserialize_with = "or_null")]
    driver: String,
    #[serde(deserialize_with = "or_null")]
    driver_opts: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    labels: BTreeMap<String, String>,
    cluster_volume_spec: Option<Value>,
}

pub async fn create(
    Shared(engine): Arced,
    Sent(mut asked): Sent<Create>,
) -> Answer<(StatusCode, Json<Value>)> {
    check(&asked)?;
    if asked.name.is_empty() {
        asked.name = create::new_id().map_err(Error::from)?;
        asked.labels.insert(ANONYMOUS.to_string(), String::new());
    }
    let folder = engine.shelf.volumes();
    // One that is there already is the answer, as it is.
    if there(&engine, &asked.name).is_err() {
        let made = Made {
            created_ns: clock::wall_ns(),
            labels: asked.labels,
            options: asked.driver_opts,
        };
        volumes::make(&folder, &asked.name, &made)?;
    }
    let made = volumes::made(&folder, &asked.name);
    Ok((StatusCode::CREATED, Json(view(&engine, &asked.name, &made))))
}

fn check(asked: &Create) -> Result<(), Refusal> {
    if !matches!(asked.driver.as_str(), "" | "local") {
        let driver = &asked.driver;
        return Err(Refusal::not_found(format!(
            "volume driver '{driver}' is not there: expected local"
        )));
    }
    if asked
        .cluster_volume_spec
        .as_ref()
        .is_some_and(|spec| !spec.is_null())
    {
        return Err(Refusal::unsupported(
            "a volume for a swarm",
            "create one of driver local",
        ));
    }
    if let Some((key, value)) = asked.driver_opts.iter().next() {
        return Err(Refusal::unsupported(
            &format!("volume option {key}={value}"),
            "use a bind mount of the host's, or --tmpfs",
        ));
    }
    if !asked.name.is_empty() {
        values::volume_name(&asked.name).map_err(Error::invalid)?;
    }
    Ok(())
}

pub async fn remove(
    Shared(engine): Arced,
    Path(name): Path<String>,
    asked: Asked,
) -> Answer<StatusCode> {
    if let Err(e) = there(&engine, &name) {
        let force = asked.flag("force");
        return if force {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(e.into())
        };
    }
    let users = users(&engine, &name);
    if !users.is_empty() {
        let ids: Vec<&str> = users.iter().map(|c| c.config.id.as_str()).collect();
        let ids = ids.join(", ");
        return Err(Error::conflict(format!("remove {name}: volume is in use - [{ids}]")).into());
    }
    apart(&engine, move |engine| {
        volumes::remove(&engine.shelf.volumes(), &name)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Off the loop: a volume may have many files.
async fn apart<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let engine = engine.clone();
    tokio::task::spawn_blocking(move || work(&engine))
        .await
        .map_err(|e| Error::failed(e.to_string()))?
}

pub async fn prune(Shared(engine): Arced, asked: Asked) -> Answer<Json<Value>> {
    let filters = asked.filters(&["label", "label!", "all"])?;
    let all = filters.truth("all")?.unwrap_or(false);
    let pruned = apart(&engine, move |engine| {
        let (mut deleted, mut room) = (Vec::new(), 0);
        let folder = engine.shelf.volumes();
        for (name, _) in volumes::list(&folder)? {
            let made = volumes::made(&folder, &name);
            let is_meant = all || made.labels.contains_key(ANONYMOUS);
            if is_meant && has_labels(&filters, &made.labels) && users(engine, &name).is_empty() {
                room += volumes::size(&folder.join(&name).join("_data"));
                volumes::remove(&folder, &name)?;
                deleted.push(name);
            }
        }
        Ok(json!({ "VolumesDeleted": deleted, "SpaceReclaimed": room }))
    });
    Ok(Json(pruned.await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_volumes_without_options_are_made() {
        let asked = |text: &str| {
            let create = crate::engine::docker::asked::json(text.as_bytes())?;
            check(&create)
        };
        assert!(
            asked(r#"{"Name":"v","Driver":"local","DriverOpts":null,"Labels":{"a":"b"}}"#).is_ok()
        );
        assert!(asked("").is_ok());
        for (body, status, named) in [
            (r#"{"Driver":"flocker"}"#, 404, "flocker"),
            (r#"{"DriverOpts":{"type":"nfs"}}"#, 501, "type=nfs"),
            (r#"{"ClusterVolumeSpec":{}}"#, 501, "swarm"),
            (r#"{"Name":"../x"}"#, 400, "../x"),
        ] {
            let error = asked(body).expect_err("refused");
            assert_eq!(error.status, status, "{error}");
            assert!(error.message.contains(named), "{error}");
        }
    }
}
