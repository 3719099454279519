//! Who may reboot now: the fleet_lock protocol (Zincati's), kept in etcd, and what operators do with it.
//!
//! A slot is taken and given back by a transaction on what was read: two never get the same one.

use super::Service;
use super::failure::Failure;
use super::v1::{Api, body};
use crate::store::{Compare, Reply, Request, Revision, Write};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use formats::fleet::{Key, MOST_SLOTS, RebootGroup, RebootRecord, decode, encode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Others may change a group at the same moment.
const TRIES: usize = 50;

type Sent = Result<Bytes, axum::extract::rejection::BytesRejection>;

/// The protocol's body. Fields that it may get later are passed over, as it says.
#[derive(Debug, Deserialize)]
struct Asked {
    client_params: Params,
}

#[derive(Debug, Deserialize)]
struct Params {
    id: String,
    group: String,
}

/// The protocol's failure: `{"kind", "value"}`.
fn refused(code: StatusCode, kind: &str, value: impl std::fmt::Display) -> Response {
    let body = json!({"kind": kind, "value": value.to_string()});
    (code, Json(body)).into_response()
}

fn bad(value: impl std::fmt::Display) -> Response {
    refused(StatusCode::BAD_REQUEST, "bad_request", value)
}

fn read(headers: &HeaderMap, bytes: Sent) -> Result<(RebootGroup, String), String> {
    let told = headers.get("fleet-lock-protocol");
    if told.is_none_or(|value| value != "true") {
        return Err("expected a header fleet-lock-protocol: true".to_owned());
    }
    let bytes = bytes.map_err(|e| e.body_text())?;
    let asked: Asked = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    let Params { id, group } = asked.client_params;
    let group: RebootGroup = group.parse().map_err(|e| format!("{e}"))?;
    if id.is_empty() || id.len() > 255 || id.contains(char::is_control) {
        return Err("expected an id of 1 to 255 characters".to_owned());
    }
    Ok((group, id))
}

/// Changes a group by what it is now; `change` says whether there is something to write.
async fn change<E>(
    service: &Service,
    group: &RebootGroup,
    mut change: impl FnMut(&mut RebootRecord) -> Result<bool, E>,
) -> Result<Result<(), E>, Failure> {
    let key = Key::Reboot(group.clone());
    for _ in 0..TRIES {
        let (modified, mut record) = now_in_etcd(service, &key).await?;
        match change(&mut record) {
            Err(error) => return Ok(Err(error)),
            Ok(false) => return Ok(Ok(())),
            Ok(true) => {}
        }
        let when = vec![Compare::Modified(key.clone(), modified)];
        let write = Write::Put {
            key: key.clone(),
            value: encode(&record),
            lease: None,
        };
        if service.write(when, vec![write]).await? {
            return Ok(Ok(()));
        }
    }
    Err(Failure::raced())
}

/// Read from etcd: another engine may have written a moment ago what this one has not heard of yet.
async fn now_in_etcd(service: &Service, key: &Key) -> Result<(Revision, RebootRecord), Failure> {
    let name = key.to_string();
    let asked = service.etcd.call(Request::Read(vec![name.clone()])).await;
    let Reply::Read { items, .. } = asked.map_err(Failure::etcd)? else {
        return Err(Failure::new(503, "etcd gave no answer"));
    };
    // Other groups' names may begin with this one's.
    let Some(item) = items.iter().find(|item| item.key == name) else {
        return Ok((0, RebootRecord::default()));
    };
    let record = decode(&item.value).map_err(|e| Failure::new(500, format!("{name}: {e}")))?;
    Ok((item.modified, record))
}

pub(super) async fn pre_reboot(State(service): Api, headers: HeaderMap, bytes: Sent) -> Response {
    let (group, id) = match read(&headers, bytes) {
        Ok(asked) => asked,
        Err(wrong) => return bad(wrong),
    };
    let now = now();
    match change(&service, &group, |record| record.take(&id, now)).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(full)) => refused(StatusCode::CONFLICT, "failed_lock_semaphore_full", full),
        Err(failure) => refused(failure.status(), "failed_lock", failure.message()),
    }
}

pub(super) async fn steady_state(State(service): Api, headers: HeaderMap, bytes: Sent) -> Response {
    let (group, id) = match read(&headers, bytes) {
        Ok(asked) => asked,
        Err(wrong) => return bad(wrong),
    };
    let given = |record: &mut RebootRecord| Ok::<_, std::convert::Infallible>(record.give(&id));
    match change(&service, &group, given).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(failure) => refused(failure.status(), "failed_unlock", failure.message()),
    }
}

pub(super) async fn list(State(service): Api) -> Json<Value> {
    let now = now();
    let groups: Vec<Value> = service.shared.look(|engine| {
        let groups = engine.mirror().reboots.iter();
        let group = |(name, at): (&RebootGroup, &crate::engine::mirror::At<RebootRecord>)| {
            let holders = at.value.holders.iter();
            let holders: Vec<Value> = holders
                .map(|(id, since)| json!({"id": id, "seconds": now.saturating_sub(*since)}))
                .collect();
            json!({"group": name.to_string(), "slots": at.value.slots, "holders": holders})
        };
        groups.map(group).collect()
    });
    Json(json!({ "groups": groups }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slots {
    slots: u32,
}

fn group(text: &str) -> Result<RebootGroup, Failure> {
    text.parse().map_err(|e| Failure::bad(format!("{e}")))
}

/// How many of a group may reboot at once.
pub(super) async fn slots(
    State(service): Api,
    Path(name): Path<String>,
    bytes: Sent,
) -> Result<StatusCode, Failure> {
    let (group, wanted): (_, Slots) = (group(&name)?, body(bytes)?);
    if wanted.slots > MOST_SLOTS {
        let text = format!(
            "expected at most {MOST_SLOTS} slots, found {}",
            wanted.slots
        );
        return Err(Failure::bad(text));
    }
    let set = |record: &mut RebootRecord| {
        let before = std::mem::replace(&mut record.slots, wanted.slots);
        // Also a group that nobody spoke of yet is told.
        Ok::<_, std::convert::Infallible>(before != wanted.slots)
    };
    change(&service, &group, set).await.map(drop)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A machine that never gives its slot back.
pub(super) async fn release(
    State(service): Api,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let group = group(&name)?;
    let give = |record: &mut RebootRecord| {
        let missing = Failure::new(404, "this machine has no slot in that group");
        record.give(&id).then_some(true).ok_or(missing)
    };
    change(&service, &group, give).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}
