//! The host's end of the test channel: deeds inside a machine of profile `test`.
//!
//! Calls from several threads overlap; each waits for its own answer only.

use crate::feed::{Feed, Missed};
use crate::protocol::{Answer, Bytes, Call, Outcome, Output, Request, Stat};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a program in the guest may take, unless the test says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The channel to one machine's agent.
pub struct Agent {
    feed: Feed,
    writer: Mutex<UnixStream>,
    next: AtomicU64,
}

impl Agent {
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        Ok(Self {
            writer: Mutex::new(stream.try_clone().context("clone the agent's socket")?),
            feed: Feed::watch(stream, None),
            next: AtomicU64::new(1),
        })
    }

    /// Runs a program in the guest to its end.
    ///
    /// # Errors
    /// It could not be started, took longer than `timeout`, or the machine is gone.
    pub fn run(&self, argv: &[&str], stdin: &[u8], timeout: Duration) -> Result<Output> {
        let call = Call::Run {
            argv: argv.iter().map(ToString::to_string).collect(),
            stdin: Bytes(stdin.to_vec()),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        match self.call(call, timeout + Duration::from_secs(30))? {
            Outcome::Ran(output) => Ok(output),
            other => unexpected(&other),
        }
    }

    /// Starts a program in the guest that may take the agent down with it: no answer is awaited.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn start(&self, argv: &[&str]) -> Result<()> {
        self.begin(Call::Run {
            argv: argv.iter().map(ToString::to_string).collect(),
            stdin: Bytes::default(),
            timeout_ms: 60_000,
        })
    }

    /// Begins a deed that may take the machine down with it: no answer is awaited.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn begin(&self, call: Call) -> Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let what = format!("{call:?}");
        let line = serde_json::to_string(&Request { id, call })? + "\n";
        self.send(&line)
            .with_context(|| format!("agent: {}", short(&what)))
    }

    /// Reads a file of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let call = Call::Read { path: path.into() };
        match self.call(call, DEFAULT_TIMEOUT)? {
            Outcome::Content(bytes) => Ok(bytes.0),
            other => unexpected(&other),
        }
    }

    /// Writes a file of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let (path, bytes) = (path.into(), Bytes(bytes.to_vec()));
        self.call(Call::Write { path, bytes }, DEFAULT_TIMEOUT)?;
        Ok(())
    }

    /// Overwrites bytes of a file of the guest, e.g. of a process's memory.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn patch(&self, path: &str, at: u64, bytes: &[u8]) -> Result<()> {
        let (path, bytes) = (path.into(), Bytes(bytes.to_vec()));
        self.call(Call::Patch { path, at, bytes }, DEFAULT_TIMEOUT)?;
        Ok(())
    }

    /// Removes a file of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.call(Call::Remove { path: path.into() }, DEFAULT_TIMEOUT)?;
        Ok(())
    }

    /// Sends a signal to a process of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn kill(&self, pid: i32, signal: i32) -> Result<()> {
        self.call(Call::Kill { pid, signal }, DEFAULT_TIMEOUT)?;
        Ok(())
    }

    /// Sends a signal as soon as something lies in one of these pipes, or after two seconds, and tells how
    /// many bytes lay there immediately before.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn kill_amid(&self, pid: i32, signal: i32, pipes: &[String]) -> Result<Vec<u64>> {
        let pipes = pipes.to_vec();
        match self.call(Call::KillAmid { pid, signal, pipes }, DEFAULT_TIMEOUT)? {
            Outcome::Pending(bytes) => Ok(bytes),
            other => unexpected(&other),
        }
    }

    /// What is at a path of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn stat(&self, path: &str) -> Result<Stat> {
        match self.call(Call::Stat { path: path.into() }, DEFAULT_TIMEOUT)? {
            Outcome::Stat(stat) => Ok(stat),
            other => unexpected(&other),
        }
    }

    /// The names in a folder of the guest.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        match self.call(Call::List { path: path.into() }, DEFAULT_TIMEOUT)? {
            Outcome::Names(names) => Ok(names),
            other => unexpected(&other),
        }
    }

    /// Where a link of the guest points, e.g. `/proc/7/ns/net`.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn link(&self, path: &str) -> Result<String> {
        match self.call(Call::Link { path: path.into() }, DEFAULT_TIMEOUT)? {
            Outcome::Names(names) => Ok(names.concat()),
            other => unexpected(&other),
        }
    }

    /// Asks and waits for the answer.
    fn call(&self, call: Call, timeout: Duration) -> Result<Outcome> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let what = format!("{call:?}");
        let line = serde_json::to_string(&Request { id, call })? + "\n";
        let from = self.feed.len();
        self.send(&line)
            .with_context(|| format!("agent: {}", short(&what)))?;
        let answer = self.feed.wait(from, timeout, |line| answer_to(line, id));
        match answer {
            Ok((_, Outcome::Error(error))) => bail!("agent: {}: {error}", short(&what)),
            Ok((_, outcome)) => Ok(outcome),
            Err(Missed::Timeout) => bail!(
                "agent: {}: no answer in {} s",
                short(&what),
                timeout.as_secs()
            ),
            Err(Missed::Closed) => bail!("agent: {}: the machine is gone", short(&what)),
        }
    }

    fn send(&self, line: &str) -> std::io::Result<()> {
        let Ok(mut writer) = self.writer.lock() else {
            return Err(std::io::Error::other("a writer of the channel panicked"));
        };
        writer.write_all(line.as_bytes())
    }
}

fn answer_to(line: &str, id: u64) -> Option<Outcome> {
    let answer: Answer = serde_json::from_str(line).ok()?;
    (answer.id == id).then_some(answer.outcome)
}

fn short(what: &str) -> &str {
    what.get(..200).unwrap_or(what)
}

fn unexpected<T>(outcome: &Outcome) -> Result<T> {
    bail!(
        "agent: answered with another kind: {}",
        short(&format!("{outcome:?}"))
    )
}
