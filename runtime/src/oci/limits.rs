//! pause, resume and update: the cgroup of a container that runs.
//!
//! An update that is refused half-way leaves what was set before it, as the kernel has no way back.

use std::io::Read;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use super::args::{Global, Update};
use super::error::Error;
use super::state::{Home, Status};

/// Freezes or thaws.
pub(super) fn freeze(global: &Global, id: &str, frozen: bool) -> Result<(), Error> {
    let home = Home::open_locked(global, id)?;
    let record = home.record()?;
    let status = home.status(&record);
    let expected = if frozen {
        status != Status::Stopped && status != Status::Paused
    } else {
        status == Status::Paused
    };
    if !expected {
        let verb = if frozen { "pause" } else { "resume" };
        return Err(Error::Other(format!(
            "cannot {verb} container `{id}`: container not running or not paused: it is {}",
            status.name()
        )));
    }
    let cgroup = record.cgroup();
    let cgroup = cgroup.ok_or_else(|| Error::Other(format!("container `{id}` has no cgroup")))?;
    cgroup
        .freeze_now(frozen)
        .map_err(|error| Error::file("freeze", cgroup.path(), error))
}

/// Changes limits.
pub(super) fn update(global: &Global, options: &Update) -> Result<(), Error> {
    let home = Home::open_locked(global, &options.id)?;
    let record = home.record()?;
    if home.status(&record) == Status::Stopped {
        return Err(Error::NotRunning {
            id: options.id.clone(),
            status: Status::Stopped.name().into(),
        });
    }
    let mut value = match &options.resources {
        Some(path) => read(path)?,
        None => Value::Object(Map::new()),
    };
    add_options(&mut value, options);
    let resources: LinuxResources = super::bundle::from_value(&value)
        .map_err(|error| Error::Spec(format!("resources: {error}")))?;
    let cgroup = record.cgroup().ok_or_else(|| {
        Error::Other(format!("container `{}` has no cgroup to limit", options.id))
    })?;
    Ok(cgroup.limit(&resources)?)
}

fn read(path: &Path) -> Result<Value, Error> {
    let failed = |error| Error::file("read", path, error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(path).map_err(failed)?;
    }
    serde_json::from_slice(text.as_bytes()).map_err(|error| Error::file("parse", path, error))
}

fn add_options(value: &mut Value, options: &Update) {
    let mut set = |group: &str, key: &str, given: Option<Value>| {
        if let Some(given) = given {
            value[group][key] = given;
        }
    };
    set("memory", "limit", options.memory.map(Value::from));
    set("memory", "swap", options.memory_swap.map(Value::from));
    let reservation = options.memory_reservation.map(Value::from);
    set("memory", "reservation", reservation);
    set("cpu", "shares", options.cpu_share.map(Value::from));
    set("cpu", "quota", options.cpu_quota.map(Value::from));
    set("cpu", "period", options.cpu_period.map(Value::from));
    set("cpu", "cpus", options.cpuset_cpus.clone().map(Value::from));
    set("cpu", "mems", options.cpuset_mems.clone().map(Value::from));
    set("pids", "limit", options.pids_limit.map(Value::from));
    set("blockIO", "weight", options.blkio_weight.map(Value::from));
}
