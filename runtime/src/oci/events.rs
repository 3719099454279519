//! events: figures of a container, as lines of JSON, once or every few seconds until it ends.
//!
//! The names are those of cgroup version 1 where callers know only those.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::args::{Events, Global};
use super::error::Error;
use super::state::{Home, Status};
use crate::container::cgroup::Cgroup;

pub(super) fn events(global: &Global, options: &Events) -> Result<(), Error> {
    let home = Home::open(global, &options.id)?;
    let record = home.record()?;
    let stopped = || Error::NotRunning {
        id: options.id.clone(),
        status: Status::Stopped.name().into(),
    };
    let pidfd = record.pidfd().ok_or_else(stopped)?;
    let cgroup = record.cgroup();
    let cgroup = cgroup.ok_or_else(|| Error::Other("events: it has no cgroup".into()))?;
    if options.interval == 0 {
        return Err(Error::Other("events: expected an interval over 0".into()));
    }
    let mut killed = None;
    loop {
        let usage = print(&options.id, &cgroup)?;
        if killed.is_some_and(|before| usage > before) {
            println!(r#"{{"type":"oom","id":"{}"}}"#, options.id);
        }
        killed = Some(usage);
        if options.stats || ended(&pidfd, options.interval)? {
            return Ok(());
        }
    }
}

/// Prints the figures, and returns how many processes were killed for want of memory.
fn print(id: &str, cgroup: &Cgroup) -> Result<u64, Error> {
    let usage = cgroup.usage();
    let usage = usage.map_err(|error| Error::file("read", cgroup.path(), error))?;
    let line = serde_json::json!({
        "type": "stats",
        "id": id,
        "data": {
            "cpu": {"usage": {"total": usage.cpu_us * 1000}},
            "memory": {
                "usage": {"usage": usage.memory, "limit": usage.memory_max.unwrap_or(u64::MAX)},
            },
            "pids": {"current": usage.pids},
            "blkio": {"ioServiceBytesRecursive": [
                {"op": "Read", "value": usage.read_bytes},
                {"op": "Write", "value": usage.written_bytes},
            ]},
        },
    });
    println!("{line}");
    Ok(usage.oom_kills)
}

/// Waits for the end of the container, as long as an interval.
fn ended(pidfd: &OwnedFd, seconds: u64) -> Result<bool, Error> {
    let interval = Timespec::try_from(Duration::from_secs(seconds)).ok();
    let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
    let ready = poll(&mut waited, interval.as_ref());
    ready
        .map(|ready| ready > 0)
        .map_err(|error| Error::io("poll", error))
}
