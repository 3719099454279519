//! QMP, QEMU's control channel: commands with their answers, and events.
//!
//! One JSON object a line, as QEMU's `qmp-spec` says. It knows no command by name but the first.

use crate::feed::{Feed, Missed};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(60);

/// A QMP session, past its negotiation.
pub struct Qmp {
    feed: Feed,
    writer: UnixStream,
    next: AtomicU64,
}

impl Qmp {
    /// Negotiates on a fresh connection.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        let qmp = Self {
            writer: stream.try_clone().context("clone the QMP socket")?,
            feed: Feed::watch(stream, None),
            next: AtomicU64::new(1),
        };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns what it returned.
    ///
    /// # Errors
    /// QEMU's own words when it refuses, or that it gave no answer.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let request = json!({"execute": command, "arguments": arguments, "id": id});
        (&self.writer)
            .write_all(format!("{request}\n").as_bytes())
            .with_context(|| format!("QMP {command}"))?;
        let (_, answer) = self
            .feed
            .wait(0, ANSWER, |line| with_id(line, id))
            .map_err(|missed| anyhow::anyhow!("QMP {command}: no answer ({missed:?})"))?;
        match answer.get("error") {
            Some(error) => bail!("QMP {command}: {}", error["desc"].as_str().unwrap_or("?")),
            None => Ok(answer["return"].clone()),
        }
    }

    /// A place in the stream of events, for [`Qmp::wait_event`].
    #[must_use]
    pub fn now(&self) -> usize {
        self.feed.len()
    }

    /// Waits for an event (e.g. `RESET`, `SHUTDOWN`) that came at `from` or later.
    ///
    /// # Errors
    /// The deadline, or QEMU's end.
    pub fn wait_event(&self, from: usize, name: &str, timeout: Duration) -> Result<Value> {
        let look = |line: &str| {
            let value: Value = serde_json::from_str(line).ok()?;
            (value["event"] == name).then_some(value)
        };
        match self.feed.wait(from, timeout, look) {
            Ok((_, event)) => Ok(event),
            Err(Missed::Timeout) => bail!("QMP: no event {name} in {} s", timeout.as_secs()),
            Err(Missed::Closed) => bail!("QMP: QEMU ended before the event {name}"),
        }
    }
}

fn with_id(line: &str, id: u64) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["id"] == id).then_some(value)
}
