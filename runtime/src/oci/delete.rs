//! delete: what is left of a container that has stopped.
//!
//! With `--force` it is made to stop first.

use super::args::{Delete, Global};
use super::error::Error;
use super::log::Log;
use super::state::{self, Home, Record, Status};
use super::{hooks, kill, place};

pub(super) fn delete(global: &Global, options: &Delete, log: &Log) -> Result<(), Error> {
    if !options.regex {
        return one(global, options, &options.id, log);
    }
    let ids = state::all(global);
    let matching = ids.iter().filter(|id| kill::matches(&options.id, id));
    matching
        .into_iter()
        .try_for_each(|id| one(global, options, id, log))
}

fn one(global: &Global, options: &Delete, id: &str, log: &Log) -> Result<(), Error> {
    let home = match Home::open_locked(global, id) {
        Err(Error::Missing(_)) if options.force => return Ok(()),
        home => home?,
    };
    let record = match home.record() {
        // What a create that was killed has left.
        Err(Error::Missing(_)) => return home.remove(),
        record => record?,
    };
    match home.status(&record) {
        Status::Stopped => {}
        _ if options.force => {}
        // Nothing of the user's runs yet.
        Status::Created => {}
        status => {
            return Err(Error::Other(format!(
                "cannot delete container `{id}` that is not stopped: it is {}",
                status.name()
            )));
        }
    }
    remove(&home, &record, log)
}

/// Kills what is left, removes cgroup and directory, and runs the last hooks.
pub(super) fn remove(home: &Home, record: &Record, log: &Log) -> Result<(), Error> {
    let spec = home.spec();
    if let Some(pidfd) = record.pidfd() {
        kill::kill_and_wait(&pidfd)?;
    }
    if let Some(cgroup) = record.cgroup() {
        cgroup
            .remove_blocking()
            .map_err(|error| Error::file("remove cgroup", cgroup.path(), error))?;
    }
    place::remove_parents(&record.cgroup_parents);
    home.remove()?;
    if let Ok(spec) = spec {
        hooks::after_stop(&spec, record, log);
    }
    Ok(())
}
