//! The task of one container.
//!
//! It decides nothing: the machine does. What fails here is told and does not end the task.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use formats::registration::{Slot, StampKind};
use tokio::sync::{mpsc, watch};

use super::{Adopted, Command, Container, Running, lock, open_pidfd, release};
use crate::container::cgroup::Cgroup;
use crate::crash::{self, Point};
use crate::engine::docker::events::Told;
use crate::engine::error::Error;
use crate::engine::io::Streams;
use crate::engine::launch::{self, Launched};
use crate::engine::machine::{Effect, Event, Machine};
use crate::engine::notify::Hearing;
use crate::engine::options::ReadyBy;
use crate::engine::record::{ExitRecord, Phase, Process, State};
use crate::engine::{Engine, clock, notify, secrets};

/// How long the last output of an ended container is waited for.
const DRAIN: Duration = Duration::from_secs(3);
/// How long those who follow the log of a removed container may read.
const FOLLOWERS: Duration = Duration::from_secs(2);
/// Between two tries to save a state on a disk that is full.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Task {
    pub(super) engine: Weak<Engine>,
    pub(super) id: String,
    pub(super) container: Weak<Container>,
    pub(super) machine: Machine,
    pub(super) told: watch::Sender<State>,
    pub(super) running: Option<Running>,
    /// An exit that came before the launch was known to have succeeded.
    pub(super) early_exit: Option<Slot>,
    /// Ends with the run.
    pub(super) hearing: Option<Hearing>,
    /// The state on disk is an older one.
    pub(super) unsaved: bool,
    /// PID 1 still holds an exit that could not be saved.
    pub(super) unreleased: bool,
}

impl Task {
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        adopted: Option<Adopted>,
    ) {
        if let Some(adopted) = adopted {
            self.adopt(adopted).await;
        }
        loop {
            let alarm = self.machine.alarm.map(clock::instant);
            let wake = async {
                match alarm {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let unsaved = self.unsaved;
            let gone = tokio::select! {
                () = tokio::time::sleep(SAVE_AGAIN), if unsaved => {
                    self.save_again().await;
                    false
                }
                () = wake => self.event(Event::Alarm).await,
                command = commands.recv() => match command {
                    None => return,
                    Some(command) => self.command(command).await,
                },
            };
            if gone {
                return;
            }
        }
    }

    async fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Event(event, taken) => {
                let gone = self.event(event).await;
                let _ = taken.send(());
                gone
            }
            Command::Exited(slot) => self.exited(slot).await,
            Command::Launched(outcome) => self.launched(outcome).await,
            Command::Redescribed(container, rules) => {
                self.container = container;
                self.machine.ruled(*rules);
                false
            }
        }
    }

    /// Takes an event through the machine; whether the container is gone.
    async fn event(&mut self, event: Event) -> bool {
        let before = self.machine.state.clone();
        let effects = self.machine.step(event, clock::steady());
        self.tell_events(&before, &effects);
        let mut gone = false;
        for effect in effects {
            if effect == Effect::Remove {
                // Told first: those who wait for the end see it before the container is gone.
                self.tell();
            }
            gone |= self.carry_out(effect).await;
        }
        self.tell();
        gone
    }

    fn tell(&self) {
        self.told.send_replace(self.machine.state.clone());
        if let Some(engine) = self.engine.upgrade() {
            if let Some(container) = self.container.upgrade() {
                engine
                    .checks
                    .follow(&engine, &container, &self.machine.state);
            }
            engine.changed.send_replace(());
        }
    }

    /// Tells those who listen what happened.
    fn tell_events(&self, before: &State, effects: &[Effect]) {
        let Some((engine, container)) = self.engine.upgrade().zip(self.container.upgrade()) else {
            return;
        };
        let events = &engine.docker.events;
        events.changed(&container, before, &self.machine.state);
        if effects.contains(&Effect::Remove) {
            events.tell(Told::container("destroy", &container));
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> bool {
        let Some(engine) = self.engine.upgrade() else {
            return true;
        };
        match effect {
            Effect::Launch => self.launch(&engine),
            Effect::Persist => self.persist(&engine),
            Effect::Release => self.release().await,
            Effect::CleanUp => self.clean_up(&engine).await,
            Effect::Signal(signal) => self.signal(signal),
            Effect::KillAll => self.kill_all(),
            Effect::Remove => {
                self.remove(&engine).await;
                return true;
            }
        }
        false
    }

    fn launch(&self, engine: &Arc<Engine>) {
        let (engine, container) = (engine.clone(), self.container.clone());
        tokio::spawn(async move {
            let Some(container) = container.upgrade() else {
                return;
            };
            let outcome = launch::launch(&engine, &container).await.map(Box::new);
            let _ = container.send(Command::Launched(outcome)).await;
        });
    }

    async fn launched(&mut self, outcome: Result<Box<Launched>, Error>) -> bool {
        let launched = match outcome {
            Ok(launched) => *launched,
            Err(e) => {
                tracing::warn!("start {}: {e}", self.name());
                self.early_exit = None;
                return self
                    .event(Event::StartFailed {
                        message: e.message,
                        code: e.exit,
                    })
                    .await;
            }
        };
        self.running = Some(launched.running);
        self.listen(launched.notify, launched.process);
        // Until its state says whose they are.
        let _layers = launched.layers;
        let gone = self
            .event(Event::Started {
                process: launched.process,
                at_ns: clock::wall_ns(),
                network: launched.network,
            })
            .await;
        crash::at(Point::Recorded);
        if let Some(engine) = self.engine.upgrade() {
            engine.stamp(StampKind::Container, &self.stage()).await;
        }
        match self.early_exit.take() {
            Some(slot) if !gone => self.exited(slot).await,
            _ => gone,
        }
    }

    /// Hears it say that it is ready, until its end.
    fn listen(&mut self, socket: Option<OwnedFd>, process: Process) {
        let Some(socket) = socket else {
            return;
        };
        match notify::listen(socket, self.container.clone(), process) {
            Ok(hearing) => self.hearing = Some(hearing),
            Err(e) => tracing::error!("hear what {} tells: {e}", self.name()),
        }
    }

    async fn exited(&mut self, slot: Slot) -> bool {
        let Some(exit) = slot.exit else {
            return false;
        };
        if self.machine.state.phase == Phase::Starting {
            self.early_exit = Some(slot);
            return false;
        }
        let ours = self
            .machine
            .state
            .process
            .is_some_and(|p| p.pid == slot.pid);
        if !ours {
            // Told twice, or of a start that failed.
            return false;
        }
        crash::at(Point::Exited);
        self.hearing = None;
        self.drain().await;
        let oom = self.running.as_ref().and_then(|r| r.cgroup.as_ref());
        let oom = oom
            .and_then(|c| c.usage().ok())
            .is_some_and(|u| u.oom_kills > 0);
        self.event(Event::Exited(ExitRecord {
            code: exit.kind.code(),
            at_ns: exit.at_ns,
            oom,
        }))
        .await
    }

    async fn drain(&self) {
        let Some(container) = self.container.upgrade() else {
            return;
        };
        let mut streams = std::mem::take(&mut *lock(&container.streams));
        streams.drain(DRAIN).await;
        container.log.close();
    }

    /// What cannot be made durable is tried again later; meanwhile the container can still be told
    /// to stop or to go, which may be what makes room.
    fn persist(&mut self, engine: &Engine) {
        let saved = engine.shelf.save(&self.id, &self.machine.state);
        self.unsaved = match saved {
            Ok(()) => {
                engine.clear_trouble(&format!("state {}", self.id));
                false
            }
            Err(e) if !engine.shelf.container(&self.id).exists() => {
                tracing::error!("{}: {e}", self.name());
                false
            }
            Err(e) => {
                let text = format!("the state of {} cannot be saved: {e}", self.name());
                engine.trouble(&format!("state {}", self.id), text);
                true
            }
        };
    }

    /// PID 1 keeps an exit until it is on disk, or nobody will ask for it any more.
    async fn release(&mut self) {
        self.unreleased = self.unsaved && !self.machine.is_going();
        crash::at(Point::Kept);
        if !self.unreleased {
            release(&self.id).await;
        }
        crash::at(Point::Released);
    }

    async fn save_again(&mut self) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        self.persist(&engine);
        if self.unreleased {
            self.release().await;
        }
    }

    async fn clean_up(&mut self, engine: &Engine) {
        let detached = engine.networks.lock().await.detach(&self.id).await;
        if let Err(e) = detached {
            tracing::warn!("detach {} from its network: {e}", self.name());
        }
        notify::remove(&engine.run, &self.id);
        secrets::remove(&engine.run, &self.id);
        let cgroup = self.running.take().and_then(|r| r.cgroup);
        if let Some(cgroup) = cgroup
            && let Err(e) = cgroup.remove().await
        {
            tracing::warn!("remove the cgroup of {}: {e}", self.name());
        }
        crash::at(Point::Cleaned);
    }

    fn signal(&self, signal: i32) {
        let pidfd = self.running.as_ref().and_then(|r| r.pidfd.as_ref());
        if let Some(pidfd) = pidfd
            && let Err(e) = sys::process::pidfd_signal(pidfd.as_fd(), signal)
        {
            tracing::debug!("signal {signal} to {}: {e}", self.name());
        }
    }

    fn kill_all(&self) {
        let cgroup = self.running.as_ref().and_then(|r| r.cgroup.as_ref());
        if let Some(cgroup) = cgroup {
            match cgroup.kill() {
                Ok(()) => return,
                Err(e) => tracing::warn!("kill the cgroup of {}: {e}", self.name()),
            }
        }
        self.signal(9);
    }

    async fn remove(&mut self, engine: &Arc<Engine>) {
        if let Some(container) = self.container.upgrade() {
            engine.forget(&self.id);
            // Attached clients read to the end; they have seen it by now or are slow.
            let _ = tokio::time::timeout(FOLLOWERS, container.log.unfollowed()).await;
        }
        engine.clear_trouble(&format!("state {}", self.id));
        engine.checks.forget(&self.id);
        let (apart, id, container) = (engine.clone(), self.id.clone(), self.container.upgrade());
        // Many files take long, and the loop has other containers' output to move.
        let removed = tokio::task::spawn_blocking(move || {
            let anonymous = container.iter().flat_map(|c| &c.config.anonymous);
            for (_, volume) in anonymous {
                if let Err(e) = crate::engine::volumes::remove(&apart.shelf.volumes(), volume) {
                    tracing::warn!("{e}");
                }
            }
            apart.shelf.remove(&id)
        });
        let removed = removed
            .await
            .unwrap_or_else(|e| Err(Error::failed(e.to_string())));
        if let Err(e) = removed {
            engine.trouble(
                &self.id,
                format!("container {} is only half removed: {e}", self.id),
            );
        }
    }

    async fn adopt(&mut self, adopted: Adopted) {
        let Some((engine, container)) = self.engine.upgrade().zip(self.container.upgrade()) else {
            return;
        };
        let (slot, mut stdio) = (adopted.slot, adopted.stdio);
        let options = &container.config.options;
        let told = options.ready.is_some_and(|r| r.by == ReadyBy::Notify);
        let notify = if told { stdio.pop() } else { None };
        match Streams::open(&container.log, stdio, None, options.tty) {
            Ok(streams) => *lock(&container.streams) = streams,
            Err(e) => tracing::error!("take over the streams of {}: {e}", self.name()),
        }
        let process = Process {
            pid: slot.pid,
            start_ticks: slot.start_ticks,
        };
        let cgroup = engine
            .cgroup_of(&self.id)
            .and_then(|path| Cgroup::open(&path).ok());
        let pidfd = match slot.exit {
            None => open_pidfd(process),
            // Its cgroup is still to be asked and removed.
            Some(_) => None,
        };
        self.running = Some(Running { pidfd, cgroup });
        // The engine before this one may have died between the start and its record.
        if self.machine.state.process != Some(process) || !self.machine.state.phase.is_up() {
            let saved = engine.shelf.network(&self.id);
            let network = saved.or_else(|| self.machine.state.network.clone());
            self.machine.state.phase = Phase::Starting;
            self.event(Event::Started {
                process,
                at_ns: clock::wall_of_ticks(process.start_ticks),
                network,
            })
            .await;
        } else {
            self.event(Event::Resumed).await;
        }
        self.listen(notify, process);
        if slot.exit.is_some() {
            self.exited(slot).await;
        }
    }

    /// Its name in the boot timeline: of `web.container` it is `web`, whatever podman calls it.
    fn stage(&self) -> String {
        let container = self.container.upgrade();
        let unit = container.and_then(|c| c.config.options.unit.clone());
        let stem = unit.and_then(|u| u.strip_suffix(".service").map(str::to_string));
        stem.unwrap_or_else(|| self.name())
    }

    fn name(&self) -> String {
        let container = self.container.upgrade();
        container.map_or_else(|| self.id.clone(), |c| c.config.name.clone())
    }
}
