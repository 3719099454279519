//! Another name, other limits, another restart policy.
//!
//! What of an update is not said stays as it is; so clients send it: 0 and empty say nothing.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::Arced;
use super::super::asked::{Asked, Sent};
use super::super::body::Body;
use super::super::events::Told;
use super::super::refusal::Refusal;
use super::{Id, body_file, find, wish};
use crate::engine::options::ContainerOptions;
use crate::engine::redescribe;

pub async fn rename(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    let container = find(&engine, &id)?;
    let name = asked.text("name").unwrap_or_default();
    let name = name.trim_start_matches('/');
    if name.is_empty() {
        return Err(Refusal::invalid("Neither old nor new names may be empty"));
    }
    if name == container.config.name {
        return Err(Refusal::invalid(
            "Renaming a container with the same name as its current name",
        ));
    }
    if container.config.options.unit.is_some() {
        return Err(Refusal::conflict(
            "a unit's container has the name that its file says: write ContainerName=",
        ));
    }
    let renamed = redescribe::rename(&engine, &container.config.id, name).await?;
    let mut told = Told::container("rename", &renamed);
    told.add("oldName", &format!("/{}", container.config.name));
    engine.docker.events.tell(told);
    Ok(StatusCode::NO_CONTENT)
}

pub async fn update(
    Shared(engine): Arced,
    Path(id): Id,
    Sent(sent): Sent<Value>,
) -> Result<Json<Value>, Refusal> {
    let container = find(&engine, &id)?;
    let config = &container.config;
    if config.options.unit.is_some() {
        return Err(Refusal::conflict(
            "a unit's container has the limits that its file says: write Memory= and its like",
        ));
    }
    let options = changed(&config.options, sent.clone())?;
    redescribe::update(&engine, &container, options).await?;
    let file = body_file(&engine, &config.id);
    let kept = std::fs::read(&file).unwrap_or_default();
    if let Ok(mut body) = serde_json::from_slice::<Value>(&kept) {
        said(&mut body["HostConfig"], sent);
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        if let Err(e) = sys::durable::write(&file, &bytes, 0o600) {
            tracing::warn!("keep what was sent of {}: {e}", config.id);
        }
    }
    engine
        .docker
        .events
        .tell(Told::container("update", &container));
    Ok(Json(json!({"Warnings": []})))
}

/// The options with what is said in an update.
fn changed(before: &ContainerOptions, sent: Value) -> Result<ContainerOptions, Refusal> {
    let has_pids = sent["PidsLimit"].as_i64().unwrap_or(0) != 0;
    let mut body = Body::new("", sent)?;
    let mut said = ContainerOptions::default();
    // Checked with the limits that stay, below.
    let swap = body.number("MemorySwap")?.filter(|n| *n != 0);
    wish::limits(&mut body, &mut said)?;
    let policy = wish::restart_policy(&mut body)?;
    body.finish()?;
    let mut after = before.clone();
    after.memory = said.memory.or(before.memory);
    after.memory_swap = swap.or(before.memory_swap);
    after.memory_reservation = said.memory_reservation.or(before.memory_reservation);
    after.cpu_shares = said.cpu_shares.or(before.cpu_shares);
    after.cpuset = said.cpuset.or_else(|| before.cpuset.clone());
    after.milli_cpus = said.milli_cpus.or(before.milli_cpus);
    if has_pids {
        after.pids_limit = said.pids_limit;
    }
    if let Some(policy) = policy {
        if before.auto_remove {
            return Err(Refusal::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        after.restart = policy;
    }
    let (memory, swap) = (after.memory.unwrap_or(0), after.memory_swap.unwrap_or(0));
    if u64::try_from(swap).is_ok_and(|swap| swap > 0 && memory > swap) {
        return Err(Refusal::invalid(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    Ok(after)
}

/// Puts what is said into what was sent at the creation, for inspections.
fn said(host: &mut Value, sent: Value) {
    let is_said = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Object(fields) => fields["Name"].as_str().is_some_and(|name| !name.is_empty()),
        _ => false,
    };
    let (Value::Object(host), Value::Object(sent)) = (host, sent) else {
        return;
    };
    host.extend(sent.into_iter().filter(|(_, value)| is_said(value)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::RestartPolicy;

    #[test]
    fn what_an_update_does_not_say_stays() {
        let before = ContainerOptions {
            memory: Some(64 << 20),
            pids_limit: Some(10),
            restart: RestartPolicy::Always,
            ..ContainerOptions::default()
        };
        let sent =
            json!({"Memory": 0, "NanoCpus": 500_000_000, "PidsLimit": null, "RestartPolicy": {}});
        let after = changed(&before, sent).unwrap();
        assert_eq!(
            after,
            ContainerOptions {
                milli_cpus: Some(500),
                ..before.clone()
            }
        );
        let sent = json!({"Memory": 1 << 20, "PidsLimit": -1, "RestartPolicy": {"Name": "no"}});
        let after = changed(&before, sent).unwrap();
        assert_eq!((after.memory, after.pids_limit), (Some(1 << 20), Some(0)));
        assert_eq!(after.restart, RestartPolicy::No);
        assert!(changed(&before, json!({"Memory": 5, "MemorySwap": 4})).is_err());
        assert!(changed(&before, json!({"BlkioWeight": 5})).is_err());
    }
}
