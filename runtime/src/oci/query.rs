//! state, list and ps: what there is, asked of the kernel.
//!
//! They change nothing and wait for no lock.

use std::path::Path;

use super::args::{Format, Global, List, Ps};
use super::error::Error;
use super::state::{self, Home, Record};

pub(super) fn state(global: &Global, id: &str) -> Result<(), Error> {
    let home = Home::open(global, id)?;
    let record = home.record()?;
    let status = home.status(&record);
    let mut value = record.json(status);
    // As crun and runc have it: 0 once it has stopped.
    if value.get("pid").is_none() {
        value["pid"] = 0.into();
    }
    value["rootfs"] = serde_json::json!(record.rootfs);
    value["created"] = record.created.into();
    value["owner"] = record.owner.to_string().into();
    if let Some(scope) = record.scope {
        value["systemd-scope"] = scope.into();
    }
    print_json(&value)
}

pub(super) fn list(global: &Global, options: &List) -> Result<(), Error> {
    let mut found = Vec::new();
    for id in state::all(global) {
        // One that is being created or removed at this moment is not there.
        let Ok(home) = Home::open(global, &id) else {
            continue;
        };
        if let Ok(record) = home.record() {
            let status = home.status(&record);
            found.push((record, status));
        }
    }
    if options.quiet {
        found
            .iter()
            .for_each(|(record, _)| println!("{}", record.id));
        return Ok(());
    }
    if options.format == Format::Json {
        let all: Vec<serde_json::Value> = found
            .iter()
            .map(|(record, status)| {
                let mut value = record.json(*status);
                value["created"] = record.created.clone().into();
                value["owner"] = record.owner.to_string().into();
                value
            })
            .collect();
        return print_json(&all.into());
    }
    println!(
        "{:<20} {:<8} {:<8} {:<40} CREATED",
        "NAME", "PID", "STATUS", "BUNDLE PATH"
    );
    for (record, status) in found {
        let Record {
            id,
            pid,
            bundle,
            created,
            ..
        } = record;
        let (status, bundle) = (status.name(), bundle.display().to_string());
        println!("{id:<20} {pid:<8} {status:<8} {bundle:<40} {created}");
    }
    Ok(())
}

pub(super) fn processes(global: &Global, options: &Ps) -> Result<(), Error> {
    let record = Home::open(global, &options.id)?.record()?;
    let mut pids = match record.cgroup() {
        Some(cgroup) => cgroup
            .processes()
            .map_err(|error| Error::file("read", cgroup.path(), error))?,
        None => record.pidfd().map(|_| record.pid).into_iter().collect(),
    };
    pids.sort_unstable();
    if options.format == Format::Json {
        return print_json(&pids.into());
    }
    println!("{:<8} COMMAND", "PID");
    for pid in pids {
        let path = format!("/proc/{pid}/comm");
        let name = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        println!("{pid:<8} {}", name.trim_end());
    }
    Ok(())
}

/// Prints a value, indented.
pub(super) fn print_json(value: &serde_json::Value) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::io("print", e))?;
    println!("{text}");
    Ok(())
}
