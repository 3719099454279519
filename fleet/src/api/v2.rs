//! What fleet's API never had: whole texts, why, machines' duties, the brake, how etcd is.
//!
//! The document of both versions is served at `/fleet/v2/openapi.json`.

use super::failure::Failure;
use super::machines;
use super::units::{self, Wish};
use super::v1::{Api, body, current, word};
use crate::daemon::now;
use crate::engine::mirror::Mirror;
use crate::plan::why::why as explain;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use formats::fleet::{DutyRecord, Key, PlacedRecord, UnitName, encode};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer<T = Json<Value>> = Result<T, Failure>;
type Sent = Result<Bytes, axum::extract::rejection::BytesRejection>;

pub(super) async fn openapi() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json"))
}

fn entity(mirror: &Mirror, name: &UnitName, with_text: bool) -> Option<Value> {
    let unit = mirror.units.get(name)?;
    let (state, machine) = current(mirror, name);
    let on = |(name, id): (&UnitName, &formats::fleet::MachineId)| {
        let status = mirror.status.get(&(name.clone(), id.clone()));
        json!({
            "unit": name.as_str(),
            "machine": id.as_str(),
            "active": status.map_or("", |s| s.active.as_str()),
            "sub": status.map_or("", |s| s.sub.as_str()),
        })
    };
    let counted = mirror.counted.iter();
    let counted = counted.filter(|(_, of)| name.is_template() && *of == name);
    let all = std::iter::once(name).chain(counted.map(|(instance, _)| instance));
    let places = all.flat_map(|name| {
        let places = mirror.placed.get(name).into_iter();
        places.flat_map(move |places| places.keys().map(move |id| (name, id)))
    });
    let mut entity = json!({
        "name": name.as_str(),
        "desiredState": word(unit.value.0.desired),
        "currentState": state,
        "machine": machine.filter(|_| !unit.value.1.options.global),
        "global": unit.value.1.options.global,
        "revision": unit.modified,
        "count": unit.value.1.options.count.filter(|_| name.is_template()),
        "rollout": rollout(mirror, name),
        "of": mirror.counted.get(name).map(UnitName::as_str),
        "on": places.map(on).collect::<Vec<_>>(),
    });
    if with_text {
        entity["text"] = unit.value.0.text.clone().into();
    }
    Some(entity)
}

/// How far a template's changed text is.
fn rollout(mirror: &Mirror, template: &UnitName) -> Option<Value> {
    let record = &mirror.rollouts.get(template)?.value;
    let text = &mirror.units.get(template)?.value.0.text;
    let counted = mirror.counted.iter().filter(|(_, of)| *of == template);
    let texts = counted.filter_map(|(name, _)| {
        mirror
            .placed
            .get(name)?
            .values()
            .find_map(|at| match &at.value {
                PlacedRecord::Here { text, .. } => Some(text),
                PlacedRecord::Leaving => None,
            })
    });
    let all: Vec<_> = texts.collect();
    Some(json!({
        "returned": record.returned,
        "changed": all.iter().filter(|other| **other == text).count(),
        "instances": all.len(),
    }))
}

pub(super) async fn units(State(service): Api) -> Answer {
    let units: Vec<Value> = service.shared.look(|engine| {
        let mirror = engine.mirror();
        let names = mirror.units.keys();
        names
            .filter_map(|name| entity(mirror, name, false))
            .collect()
    });
    Ok(Json(json!({ "units": units })))
}

pub(super) async fn unit(State(service): Api, Path(name): Path<String>) -> Answer {
    let name = units::name(&name)?;
    let entity = service
        .shared
        .look(|engine| entity(engine.mirror(), &name, true));
    entity
        .map(Json)
        .ok_or_else(|| Failure::new(404, "unit does not exist"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    text: Option<String>,
    desired_state: Option<String>,
}

pub(super) async fn put(
    State(service): Api,
    Path(name): Path<String>,
    bytes: Sent,
) -> Answer<StatusCode> {
    let name = units::name(&name)?;
    let put: Put = body(bytes)?;
    let desired = put
        .desired_state
        .as_deref()
        .map(units::desired)
        .transpose()?;
    let wish = Wish {
        text: put.text,
        desired,
    };
    let fresh = units::put(&service, name, wish).await?;
    Ok(if fresh {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    })
}

pub(super) async fn why(State(service): Api, Path(name): Path<String>) -> Answer {
    let name = units::name(&name)?;
    let text = service
        .shared
        .look(|engine| explain(&engine.world(now()), &name).to_string());
    Ok(Json(json!({ "name": name.as_str(), "why": text })))
}

pub(super) async fn machines(State(service): Api) -> Answer {
    let machines: Vec<Value> = service.shared.look(|engine| {
        let mirror = engine.mirror();
        let one = |(id, record): (&formats::fleet::MachineId, &formats::fleet::MachineRecord)| {
            let units = mirror
                .placed
                .values()
                .filter(|places| places.contains_key(id));
            json!({
                "id": id.as_str(), "alive": mirror.alive.contains(id),
                "duty": mirror.duties.get(id).map(duty_word), "metadata": record.metadata,
                "cpuMilli": record.cpu_milli, "memory": record.memory, "units": units.count(),
            })
        };
        mirror.machines.iter().map(one).collect()
    });
    Ok(Json(json!({ "machines": machines })))
}

fn duty_word(duty: &DutyRecord) -> &'static str {
    match duty {
        DutyRecord::Cordoned => "cordoned",
        DutyRecord::Drains => "drains",
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Duty {
    duty: String,
}

pub(super) async fn duty(
    State(service): Api,
    Path(id): Path<String>,
    bytes: Sent,
) -> Answer<StatusCode> {
    let duty: Duty = body(bytes)?;
    let record = match duty.duty.as_str() {
        "serves" => None,
        "cordoned" => Some(DutyRecord::Cordoned),
        "drains" => Some(DutyRecord::Drains),
        _ => {
            return Err(Failure::bad(
                "expected duty serves, cordoned or drains, found another",
            ));
        }
    };
    let id = machines::id(&service, &id)?;
    service
        .set(Key::Duty(id), record.as_ref().map(encode))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A machine that never comes back: its units are given up at once.
pub(super) async fn forget(State(service): Api, Path(id): Path<String>) -> Answer<StatusCode> {
    let id = machines::id(&service, &id)?;
    if service
        .shared
        .look(|engine| engine.mirror().alive.contains(&id))
    {
        return Err(Failure::new(
            409,
            "this machine is there: stop its agent first, or drain it",
        ));
    }
    service.set(Key::Machine(id), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn lift(State(service): Api) -> Answer<StatusCode> {
    service.set(Key::Brake, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn health(State(service): Api) -> Answer {
    let etcd = service.etcd.health();
    let (leads, knows, brake, unreadable) = service.shared.look(|engine| {
        let mirror = engine.mirror();
        (
            engine.leads().is_some(),
            engine.knows(),
            mirror.brake,
            mirror.unreadable.clone(),
        )
    });
    Ok(Json(json!({
        "leads": leads, "knows": knows, "brake": brake, "unreadable": unreadable,
        "etcd": {"endpoint": etcd.endpoint, "trouble": etcd.trouble, "requests": etcd.requests},
    })))
}
