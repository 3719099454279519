//! fleet's HTTP API v1: the paths and bodies that its clients know.
//!
//! A unit's text is a list of options here, so comments are lost; v2 keeps the text.

use super::failure::Failure;
use super::options::{self, UnitOption};
use super::units::{self, Wish};
use super::{Service, machines};
use crate::engine::mirror::Mirror;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use formats::fleet::{Desired, PlacedRecord, UnitName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Units, states or machines in one page.
const PAGE: usize = 100;

pub(super) type Api = State<Arc<Service>>;
type Answer<T = Json<Value>> = Result<T, Failure>;

/// Reads a body; unknown fields are an error.
pub(super) fn body<T: DeserializeOwned>(
    bytes: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<T> {
    let bytes = bytes.map_err(|e| Failure::new(e.status().as_u16(), e.body_text()))?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::bad(format!("unable to decode body: {e}")))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    next_page_token: Option<String>,
    #[serde(rename = "unitName")]
    unit: Option<String>,
    #[serde(rename = "machineID")]
    machine: Option<String>,
}

/// One page, with the token of the next.
fn page(name: &str, all: Vec<Value>, asked: &Asked) -> Answer {
    let from = match asked.next_page_token.as_deref() {
        None | Some("") => 0,
        Some(token) => token
            .parse::<usize>()
            .ok()
            .filter(|from| from % PAGE == 0 && *from <= all.len())
            .ok_or_else(|| {
                Failure::bad("expected a nextPageToken that was given out, found another")
            })?,
    };
    let more = (from + PAGE < all.len()).then(|| (from + PAGE).to_string());
    let items: Vec<Value> = all.into_iter().skip(from).take(PAGE).collect();
    let mut page = json!({ name: items });
    if let Some(more) = more {
        page["nextPageToken"] = more.into();
    }
    Ok(Json(page))
}

pub(super) fn word(desired: Desired) -> &'static str {
    match desired {
        Desired::Inactive => "inactive",
        Desired::Loaded => "loaded",
        Desired::Launched => "launched",
    }
}

/// Where a unit is, and in which state as fleet had it.
pub(super) fn current(mirror: &Mirror, name: &UnitName) -> (&'static str, Option<String>) {
    let places = mirror.placed.get(name).into_iter().flatten();
    let mut here = places.filter_map(|(id, at)| match at.value {
        PlacedRecord::Here { desired, .. } => Some((id, desired)),
        PlacedRecord::Leaving => None,
    });
    match here.next() {
        None => ("inactive", None),
        Some((id, desired)) => (word(desired), Some(id.to_string())),
    }
}

fn entity(mirror: &Mirror, name: &UnitName) -> Option<Value> {
    let unit = mirror.units.get(name)?;
    let (state, machine) = current(mirror, name);
    let mut entity = json!({
        "name": name.as_str(),
        "desiredState": word(unit.value.0.desired),
        "currentState": state,
        "options": options::of_text(&unit.value.0.text),
    });
    if let Some(machine) = machine.filter(|_| !unit.value.1.options.global) {
        entity["machineID"] = machine.into();
    }
    Some(entity)
}

pub(super) async fn discovery() -> Json<Value> {
    Json(json!({
        "kind": "discovery#restDescription", "name": "fleet", "version": "v1",
        "basePath": "/fleet/v1/", "servicePath": "fleet/v1/", "protocol": "rest",
        "documentationLink": "/fleet/v2/openapi.json",
    }))
}

pub(super) async fn units(State(service): Api, Query(asked): Query<Asked>) -> Answer {
    let all = service.shared.look(|engine| {
        let mirror = engine.mirror();
        mirror
            .units
            .keys()
            .filter_map(|name| entity(mirror, name))
            .collect()
    });
    page("units", all, &asked)
}

pub(super) async fn unit(State(service): Api, Path(name): Path<String>) -> Answer {
    let name = units::name(&name)?;
    let entity = service.shared.look(|engine| entity(engine.mirror(), &name));
    entity
        .map(Json)
        .ok_or_else(|| Failure::new(404, "unit does not exist"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    name: Option<String>,
    desired_state: Option<String>,
    options: Option<Vec<UnitOption>>,
    // What GET gave may be sent back; it changes nothing.
    #[serde(rename = "currentState")]
    _current: Option<Value>,
    #[serde(rename = "machineID")]
    _machine: Option<Value>,
}

pub(super) async fn put(
    State(service): Api,
    Path(name): Path<String>,
    bytes: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<StatusCode> {
    let name = units::name(&name)?;
    let put: Put = body(bytes)?;
    if put.name.is_some_and(|other| other != name.as_str()) {
        return Err(Failure::bad("expected the same name in path and body"));
    }
    let given = put.options.filter(|options| !options.is_empty());
    let text = given
        .map(|options| options::to_text(&options).map_err(Failure::bad))
        .transpose()?;
    let desired = put
        .desired_state
        .as_deref()
        .map(units::desired)
        .transpose()?;
    let fresh = units::put(&service, name, Wish { text, desired }).await?;
    Ok(if fresh {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    })
}

pub(super) async fn destroy(State(service): Api, Path(name): Path<String>) -> Answer<StatusCode> {
    units::destroy(&service, &units::name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn state(State(service): Api, Query(asked): Query<Asked>) -> Answer {
    let wanted = |given: &Option<String>, found: &str| given.as_ref().is_none_or(|g| g == found);
    let all = service.shared.look(|engine| {
        let statuses = engine.mirror().status.iter();
        let statuses = statuses.filter(|((name, id), _)| {
            wanted(&asked.unit, name.as_str()) && wanted(&asked.machine, id.as_str())
        });
        let state = |((name, id), status): (&(UnitName, _), &formats::fleet::StatusRecord)| {
            let id: &formats::fleet::MachineId = id;
            json!({
                "name": name.as_str(), "machineID": id.as_str(), "hash": "",
                "systemdLoadState": "loaded",
                "systemdActiveState": status.active, "systemdSubState": status.sub,
            })
        };
        statuses.map(state).collect()
    });
    page("states", all, &asked)
}

pub(super) async fn machines(State(service): Api, Query(asked): Query<Asked>) -> Answer {
    let all = service.shared.look(|engine| {
        let mirror = engine.mirror();
        let live = mirror
            .machines
            .iter()
            .filter(|(id, _)| mirror.alive.contains(*id));
        let machine = |(id, record): (
            &formats::fleet::MachineId,
            &formats::fleet::MachineRecord,
        )| {
            json!({"id": id.as_str(), "primaryIP": "", "metadata": record.metadata})
        };
        live.map(machine).collect()
    });
    page("machines", all, &asked)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    op: String,
    path: String,
    value: Option<String>,
}

/// `[{"op": "add", "path": "/ID/metadata/KEY", "value": "…"}]`, all checked before one is done.
pub(super) async fn patch(
    State(service): Api,
    bytes: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<Response> {
    let patches: Vec<Patch> = body(bytes)?;
    let mut changes = Vec::new();
    for patch in patches {
        let parts: Vec<&str> = patch.path.split('/').collect();
        let ["", id, "metadata", key] = parts[..] else {
            return Err(Failure::bad(
                "expected a path /MACHINE/metadata/KEY, found another",
            ));
        };
        let value = match (patch.op.as_str(), patch.value) {
            ("add" | "replace", Some(value)) => Some(value),
            ("remove", None) => None,
            _ => {
                return Err(Failure::bad(
                    "expected op add or replace with a value, or remove without",
                ));
            }
        };
        if key.is_empty() || key.contains(char::is_control) {
            return Err(Failure::bad(
                "expected the name of a metadata key, found none",
            ));
        }
        changes.push((machines::id(&service, id)?, key.to_owned(), value));
    }
    for (id, key, value) in changes {
        machines::change(&service, &id, |record| {
            match value {
                Some(value) => record.metadata.insert(key, value),
                None => record.metadata.remove(&key),
            };
        })
        .await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
