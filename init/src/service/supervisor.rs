//! The supervisor's decisions: what happens to each service on each event.
//!
//! Pure: an event and a moment in, effects out. It starts, signals and logs nothing itself, and
//! allocates nothing in [`Supervisor::step`] beyond the room that its caller reserved.

use super::backoff::{Random, STABLE, pause};
use super::order::Order;
use crate::clock::Moment;
use formats::service::{Kind, Restart, Service};
use formats::status::{LastExit, ServiceState};
use std::time::Duration;

/// How long after its group was killed a service may take to be gone.
pub const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a service that missed its watchdog may write its core before it is killed.
pub const ABORT_PATIENCE: Duration = Duration::from_secs(2);
/// A service that ended so often in a row is failing.
const FLAPPING: u32 = 3;
/// No start or stop is extended beyond this, whatever a service asks for.
pub const LONGEST_EXTENSION: Duration = Duration::from_secs(600);

/// What happened. Services go by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The host is ready for its services.
    Start,
    /// The effect [`Effect::Spawn`] has led to this process.
    Spawned(usize, u32),
    /// The effect [`Effect::Spawn`] has led to no process.
    SpawnFailed(usize),
    /// The main process was reaped.
    Exited(usize, LastExit),
    /// `READY=1`.
    Ready(usize),
    /// `STOPPING=1`.
    Stopping(usize),
    /// `WATCHDOG=1`.
    Alive(usize),
    /// `WATCHDOG=trigger`.
    Trigger(usize),
    /// `WATCHDOG_USEC=`.
    WatchdogPeriod(usize, Duration),
    /// `EXTEND_TIMEOUT_USEC=`.
    Extend(usize, Duration),
    /// A deadline may have passed.
    Tick,
    /// Stop everything, in reverse order, and start nothing again.
    StopAll,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the program; answer with [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn(usize),
    /// Ask the main process to end (SIGTERM).
    Terminate(usize),
    /// Make the main process end with a core (SIGABRT).
    Abort(usize),
    /// Kill whatever is left in the service's cgroup.
    KillGroup(usize),
    /// The service is started for the first time: stamp it.
    Started(usize),
    /// Something to tell people.
    Note(usize, Note),
    /// After [`Event::StopAll`]: no service is left.
    AllStopped,
}

/// What is worth a line on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Ended when it should not have, and starts again after the pause.
    Restarting(Duration),
    /// Ended when it should not have, and stays down.
    Failed,
    /// Was not ready within `TimeoutStartSec=`.
    StartTimeout,
    /// Was not gone within `TimeoutStopSec=`.
    StopTimeout,
    /// Did not feed its watchdog within `WatchdogSec=`.
    WatchdogTimeout,
    /// Outlives SIGKILL: left behind.
    Unkillable,
    /// Will not be started, since this service that it requires has failed.
    RequirementFailed(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Starting {
        deadline: Option<Moment>,
        limit: Moment,
    },
    Running,
    Stopping {
        deadline: Moment,
        limit: Moment,
        killed: bool,
        restart: bool,
    },
    Restarting {
        at: Moment,
    },
    Done,
    Failed,
}

/// What the supervisor knows of one service.
#[derive(Debug, Clone)]
pub struct Unit {
    state: State,
    pid: Option<u32>,
    restarts: u32,
    failures: u32,
    settled: bool,
    was_started: bool,
    started_at: Moment,
    period: Option<Duration>,
    watchdog_at: Option<Moment>,
    last_exit: Option<LastExit>,
}

impl Unit {
    /// Its state as people and `status.json` see it.
    #[must_use]
    pub fn state(&self) -> ServiceState {
        match self.state {
            State::Waiting => ServiceState::Waiting,
            State::Starting { .. } => ServiceState::Starting,
            State::Running => ServiceState::Running,
            State::Stopping { .. } => ServiceState::Stopping,
            State::Restarting { .. } => ServiceState::Restarting,
            State::Done => ServiceState::Done,
            State::Failed => ServiceState::Failed,
        }
    }

    /// Its main process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// How its main process ended last.
    #[must_use]
    pub fn last_exit(&self) -> Option<LastExit> {
        self.last_exit
    }

    /// Whether it is down for good, or ends again and again: one crash is not a state.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state == State::Failed || self.failures >= FLAPPING
    }

    /// Whether its first start has come to an end, good or bad.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    fn at_rest(&self) -> bool {
        matches!(
            self.state,
            State::Done | State::Failed | State::Waiting | State::Restarting { .. }
        )
    }

    fn satisfies(&self) -> bool {
        matches!(self.state, State::Running) || (self.state == State::Done && self.was_started)
    }

    fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Starting { deadline, .. } => deadline,
            State::Stopping { deadline, .. } => Some(deadline),
            State::Restarting { at } => Some(at),
            State::Running => {
                let proven = (self.failures > 0).then(|| self.started_at + STABLE);
                self.watchdog_at.into_iter().chain(proven).min()
            }
            _ => None,
        }
    }
}

/// All services and their order.
#[derive(Debug)]
pub struct Supervisor {
    services: Vec<Service>,
    units: Vec<Unit>,
    order: Order,
    random: Random,
    open: bool,
    closing: bool,
    closed: bool,
}

impl Supervisor {
    /// Takes the services with their resolved order; nothing starts before [`Event::Start`].
    #[must_use]
    pub fn new(services: Vec<Service>, order: Order, random: Random) -> Self {
        let unit = |service: &Service| Unit {
            state: State::Waiting,
            pid: None,
            restarts: 0,
            failures: 0,
            settled: false,
            was_started: false,
            started_at: Moment::ZERO,
            period: service.watchdog,
            watchdog_at: None,
            last_exit: None,
        };
        let mut units: Vec<Unit> = services.iter().map(unit).collect();
        for index in &order.impossible {
            units[*index].state = State::Failed;
            units[*index].settled = true;
        }
        Self {
            services,
            units,
            order,
            random,
            open: false,
            closing: false,
            closed: false,
        }
    }

    /// The service's file.
    #[must_use]
    pub fn service(&self, index: usize) -> &Service {
        &self.services[index]
    }

    /// What is known of every service, by index.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The service whose main process this is.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<usize> {
        self.units.iter().position(|unit| unit.pid == Some(pid))
    }

    /// The service of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.services
            .iter()
            .position(|service| service.name == name)
    }

    /// Whether every service has come to its first state.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.units.iter().all(|unit| unit.settled)
    }

    /// When [`Event::Tick`] is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.units.iter().filter_map(Unit::deadline).min()
    }

    /// Takes one event and adds what is to be done to `effects`.
    pub fn step(&mut self, event: Event, now: Moment, effects: &mut Vec<Effect>) {
        match event {
            Event::Start => self.open = true,
            Event::Spawned(index, pid) => self.spawned(index, pid, now, effects),
            Event::SpawnFailed(index) => self.ended(index, false, now, effects),
            Event::Exited(index, exit) => self.exited(index, exit, now, effects),
            Event::Ready(index) => self.ready(index, now, effects),
            Event::Stopping(index) => self.stopping(index, now),
            Event::Alive(index) => self.fed(index, now),
            Event::Trigger(index) => self.missed(index, now, effects),
            Event::WatchdogPeriod(index, period) => {
                self.units[index].period = Some(period).filter(|p| !p.is_zero());
                self.fed(index, now);
            }
            Event::Extend(index, time) => self.extend(index, time, now),
            Event::Tick => (0..self.units.len()).for_each(|i| self.tick(i, now, effects)),
            Event::StopAll => self.closing = true,
        }
        if self.closing {
            self.stop_next(now, effects);
        } else if self.open {
            self.start_next(now, effects);
        }
    }

    fn start_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for index in 0..self.units.len() {
            if self.units[index].state != State::Waiting {
                continue;
            }
            let broken = self.order.requires[index].iter().find(|i| {
                matches!(self.units[**i].state, State::Failed | State::Done)
                    && !self.units[**i].satisfies()
            });
            if let Some(broken) = broken {
                effects.push(Effect::Note(index, Note::RequirementFailed(*broken)));
                self.units[index].state = State::Failed;
                self.units[index].settled = true;
            } else if self.may_start(index) {
                self.begin(index, now, effects);
            }
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let settled = self.order.after[index]
            .iter()
            .all(|i| self.units[*i].settled);
        settled
            && self.order.requires[index]
                .iter()
                .all(|i| self.units[*i].satisfies())
    }

    fn begin(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let timeout = self.services[index].timeout_start;
        let unit = &mut self.units[index];
        unit.state = State::Starting {
            deadline: timeout.map(|t| now + t),
            limit: now + timeout.unwrap_or_default() + LONGEST_EXTENSION,
        };
        unit.started_at = now;
        unit.period = self.services[index].watchdog;
        unit.watchdog_at = None;
        effects.push(Effect::Spawn(index));
    }

    fn spawned(&mut self, index: usize, pid: u32, now: Moment, effects: &mut Vec<Effect>) {
        self.units[index].pid = Some(pid);
        match self.units[index].state {
            State::Starting { .. } if self.services[index].kind == Kind::Simple => {
                self.ready(index, now, effects);
            }
            // Stopped between the effect and its answer.
            State::Stopping { .. } => effects.push(Effect::Terminate(index)),
            _ => {}
        }
    }

    fn ready(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if !matches!(unit.state, State::Starting { .. }) {
            return;
        }
        unit.state = State::Running;
        self.first_start(index, effects);
        self.fed(index, now);
    }

    fn first_start(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        unit.settled = true;
        if !std::mem::replace(&mut unit.was_started, true) {
            effects.push(Effect::Started(index));
        }
    }

    fn fed(&mut self, index: usize, now: Moment) {
        let unit = &mut self.units[index];
        if unit.state == State::Running {
            unit.watchdog_at = unit.period.map(|p| now.saturating_add(p));
        }
    }

    fn stopping(&mut self, index: usize, now: Moment) {
        let timeout = self.services[index].timeout_stop;
        if matches!(
            self.units[index].state,
            State::Running | State::Starting { .. }
        ) {
            self.units[index].state = State::Stopping {
                deadline: now + timeout,
                limit: now + timeout + LONGEST_EXTENSION,
                killed: false,
                restart: !self.closing,
            };
        }
    }

    fn missed(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        if self.units[index].state != State::Running {
            return;
        }
        effects.push(Effect::Note(index, Note::WatchdogTimeout));
        effects.push(Effect::Abort(index));
        let deadline = now + ABORT_PATIENCE;
        self.units[index].state = State::Stopping {
            deadline,
            limit: deadline,
            killed: false,
            restart: !self.closing,
        };
    }

    fn extend(&mut self, index: usize, time: Duration, now: Moment) {
        let later = now.saturating_add(time);
        match &mut self.units[index].state {
            State::Starting {
                deadline: Some(deadline),
                limit,
            } => {
                *deadline = later.min(*limit).max(*deadline);
            }
            State::Stopping {
                deadline,
                limit,
                killed: false,
                ..
            } => {
                *deadline = later.min(*limit).max(*deadline);
            }
            _ => {}
        }
    }

    fn tick(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        if self.units[index]
            .deadline()
            .is_none_or(|deadline| now < deadline)
        {
            return;
        }
        match self.units[index].state {
            State::Starting { .. } => {
                effects.push(Effect::Note(index, Note::StartTimeout));
                self.kill(index, !self.closing, now, effects);
            }
            State::Stopping {
                killed: false,
                restart,
                ..
            } => {
                effects.push(Effect::Note(index, Note::StopTimeout));
                self.kill(index, restart, now, effects);
            }
            State::Stopping { .. } => {
                effects.push(Effect::Note(index, Note::Unkillable));
                self.units[index].state = State::Failed;
                self.units[index].settled = true;
                self.units[index].pid = None;
            }
            State::Restarting { .. } => {
                self.units[index].restarts = self.units[index].restarts.saturating_add(1);
                self.begin(index, now, effects);
            }
            State::Running => self.look_at(index, now, effects),
            State::Waiting | State::Done | State::Failed => {}
        }
    }

    /// A running service has missed its watchdog, or has proven itself.
    fn look_at(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if now >= unit.started_at + STABLE {
            unit.failures = 0;
        }
        if unit.watchdog_at.is_some_and(|at| now >= at) {
            self.missed(index, now, effects);
        }
    }

    fn kill(&mut self, index: usize, restart: bool, now: Moment, effects: &mut Vec<Effect>) {
        effects.push(Effect::KillGroup(index));
        let deadline = now + KILL_PATIENCE;
        self.units[index].state = State::Stopping {
            deadline,
            limit: deadline,
            killed: true,
            restart,
        };
    }

    fn exited(&mut self, index: usize, exit: LastExit, now: Moment, effects: &mut Vec<Effect>) {
        self.units[index].pid = None;
        self.units[index].last_exit = Some(exit);
        if self.units[index].at_rest() {
            return;
        }
        effects.push(Effect::KillGroup(index));
        self.ended(index, exit == LastExit::Exited(0), now, effects);
    }

    /// The main process is gone, or never was.
    fn ended(&mut self, index: usize, clean: bool, now: Moment, effects: &mut Vec<Effect>) {
        let kind = self.services[index].kind;
        match self.units[index].state {
            State::Starting { .. } if kind == Kind::Oneshot && clean => {
                self.units[index].state = State::Done;
                self.first_start(index, effects);
            }
            State::Starting { .. } => self.failed(index, now, effects),
            State::Running | State::Stopping { .. }
                if clean && self.services[index].restart != Restart::Always =>
            {
                self.units[index].state = State::Done;
            }
            State::Running => self.failed(index, now, effects),
            State::Stopping { restart: true, .. } => self.failed(index, now, effects),
            State::Stopping { .. } => self.units[index].state = State::Done,
            _ => {}
        }
    }

    fn failed(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        unit.settled = true;
        unit.watchdog_at = None;
        if now.saturating_sub(unit.started_at) >= STABLE {
            unit.failures = 0;
        }
        unit.failures = unit.failures.saturating_add(1);
        if self.closing || self.services[index].restart == Restart::No {
            unit.state = State::Failed;
            effects.push(Effect::Note(index, Note::Failed));
            return;
        }
        let first = self.services[index].restart_delay;
        let delay = pause(first, unit.failures, &mut self.random);
        unit.state = State::Restarting { at: now + delay };
        effects.push(Effect::Note(index, Note::Restarting(delay)));
    }

    fn stop_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for unit in &mut self.units {
            match &mut unit.state {
                State::Waiting | State::Restarting { .. } => unit.state = State::Done,
                State::Stopping { restart, .. } => *restart = false,
                _ => continue,
            }
            unit.settled = true;
        }
        for index in 0..self.units.len() {
            let up = matches!(
                self.units[index].state,
                State::Starting { .. } | State::Running
            );
            if up && !self.is_needed(index) {
                self.stopping(index, now);
                if self.units[index].pid.is_some() {
                    effects.push(Effect::Terminate(index));
                }
            }
        }
        if self.units.iter().all(Unit::at_rest) && !std::mem::replace(&mut self.closed, true) {
            effects.push(Effect::AllStopped);
        }
    }

    /// Whether a service that comes after this one is not at rest yet.
    fn is_needed(&self, index: usize) -> bool {
        let waits = |other: &usize| self.order.after[*other].contains(&index);
        (0..self.units.len())
            .filter(waits)
            .any(|other| !self.units[other].at_rest())
    }
}

#[cfg(test)]
mod tests;
