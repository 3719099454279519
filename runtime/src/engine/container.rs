//! A container as everyone but its task sees it, and the way to that task.
//!
//! All that happens to a container happens in its task, one thing after the other.

pub mod layers;
mod task;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use layers::Layers;
use task::Task;

use formats::registration::{ErrorCode, Id, Slot};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::{mpsc, oneshot, watch};

use super::Engine;
use super::api::FrameKind;
use super::error::Error;
use super::init_client;
use super::io::{Log, Streams};
use super::launch::Launched;
use super::machine::{Event, Machine, Rules};
use super::networks;
use super::options::NetworkJoin;
use super::record::{Config, Process, State};
use super::{clock, proc};
use crate::container::cgroup::Cgroup;
use crate::network::Attachment;

/// No killed process takes longer to be reaped.
const REAPED: Duration = Duration::from_secs(5);

/// What a task is told.
#[derive(Debug)]
pub enum Command {
    /// An event, and who wants to know when it has been taken.
    Event(Event, oneshot::Sender<()>),
    /// PID 1 says that it ended.
    Exited(Slot),
    /// It has been launched, or not.
    Launched(Result<Box<Launched>, Error>),
    /// It is described otherwise from now on.
    Redescribed(Weak<Container>, Box<Rules>),
}

/// A container, as everyone but its task sees it.
#[derive(Debug)]
pub struct Container {
    /// What it is; another name or other limits make another value of this type.
    pub config: Config,
    /// What it writes.
    pub log: Arc<Log>,
    /// Its streams, while it runs.
    pub streams: Arc<Mutex<Streams>>,
    /// Where the names of containers are served for it, while it runs.
    pub servers: Arc<Mutex<Vec<IpAddr>>>,
    /// The networks that it wants to be in.
    pub joins: Arc<Mutex<Vec<NetworkJoin>>>,
    /// Who has its layers.
    pub layers: Layers,
    state: watch::Receiver<State>,
    commands: mpsc::Sender<Command>,
}

impl Container {
    /// The same container, described otherwise: those who hold the one before see and tell the same task.
    pub fn described(&self, config: Config) -> Self {
        Self {
            config,
            log: self.log.clone(),
            streams: self.streams.clone(),
            servers: self.servers.clone(),
            joins: self.joins.clone(),
            layers: self.layers.clone(),
            state: self.state.clone(),
            commands: self.commands.clone(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Tells changes; an error when it was removed.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Tells its task, and waits until that has been taken in.
    ///
    /// # Errors
    /// When it is being removed.
    pub async fn tell(&self, event: Event) -> Result<(), Error> {
        let (sender, taken) = oneshot::channel();
        self.send(Command::Event(event, sender)).await?;
        // Dropped when the task ended with the event: a removal.
        let _ = taken.await;
        Ok(())
    }

    /// Tells its task.
    ///
    /// # Errors
    /// When it is being removed.
    pub async fn send(&self, command: Command) -> Result<(), Error> {
        let gone = || Error::not_found(format!("container '{}' is gone", self.config.name));
        self.commands.send(command).await.map_err(|_| gone())
    }

    /// Waits for a state.
    ///
    /// # Errors
    /// When it is removed first.
    pub async fn until(&self, reached: impl FnMut(&State) -> bool) -> Result<State, Error> {
        let gone = || Error::not_found(format!("container '{}' was removed", self.config.name));
        let mut state = self.watch();
        state
            .wait_for(reached)
            .await
            .map(|s| s.clone())
            .map_err(|_| gone())
    }

    /// A frame's kind for its streams; a terminal has one only.
    pub fn frame_kind(stream: super::log::Stream) -> FrameKind {
        match stream {
            super::log::Stream::Stdout => FrameKind::Stdout,
            super::log::Stream::Stderr => FrameKind::Stderr,
        }
    }
}

/// What is kept of a running process.
#[derive(Debug)]
pub struct Running {
    /// Of the main process; none when it had ended before an engine took it over.
    pub pidfd: Option<OwnedFd>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
}

/// What PID 1 had when the engine came up.
#[derive(Debug)]
pub struct Adopted {
    /// Its process and exit.
    pub slot: Slot,
    /// Its streams.
    pub stdio: Vec<OwnedFd>,
}

/// Starts a container's task.
pub fn spawn(
    engine: &Arc<Engine>,
    config: Config,
    state: State,
    rules: Rules,
    adopted: Option<Adopted>,
) -> Arc<Container> {
    let (commands, received) = mpsc::channel(16);
    let (told, watched) = watch::channel(state.clone());
    let log = Arc::new(Log::new(engine.shelf.log(&config.id)));
    let joins = engine.shelf.joins(&config.id);
    let servers = state.network.as_ref().map(Attachment::servers);
    let container = Arc::new(Container {
        servers: Arc::new(Mutex::new(servers.unwrap_or_default())),
        joins: Arc::new(Mutex::new(joins.unwrap_or_else(networks::default_joins))),
        config,
        log,
        streams: Arc::default(),
        layers: Layers::default(),
        state: watched,
        commands,
    });
    let task = Task {
        engine: Arc::downgrade(engine),
        id: container.config.id.clone(),
        container: Arc::downgrade(&container),
        machine: Machine::new(state, rules, clock::steady()),
        told,
        running: None,
        early_exit: None,
        hearing: None,
        unsaved: false,
        unreleased: false,
    };
    tokio::spawn(task.run(received, adopted));
    container
}

/// A pidfd of exactly this process.
pub fn open_pidfd(process: Process) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (proc::start_ticks(process.pid) == Some(process.start_ticks)).then_some(pidfd)
}

/// Lets PID 1 forget a process; one that was just killed may not have been reaped yet.
pub async fn release(id: &str) {
    let Some(wire) = Id::new(id) else {
        return;
    };
    let released = tokio::time::timeout(REAPED, released(wire)).await;
    match released {
        Ok(Ok(()) | Err(init_client::Error::Refused(ErrorCode::NotFound))) => {}
        Ok(Err(e)) => tracing::warn!("release {id}: {e}"),
        Err(_) => tracing::warn!("release {id}: it still runs"),
    }
}

async fn released(id: Id) -> Result<(), init_client::Error> {
    let is_running = |released: &Result<(), init_client::Error>| {
        matches!(
            released,
            Err(init_client::Error::Refused(ErrorCode::Running))
        )
    };
    let first = init_client::release(id).await;
    if !is_running(&first) {
        return first;
    }
    let exits = init_client::Exits::subscribe().await?;
    loop {
        // It may have been reaped before the subscription.
        let released = init_client::release(id).await;
        if !is_running(&released) {
            return released;
        }
        while exits.next().await?.id != id {}
    }
}

/// A lock whose holder cannot have panicked half-way: values are replaced whole.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
