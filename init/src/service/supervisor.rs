//! The supervisor's decisions: what happens to each service on each event.
//!
//! Pure: an event and a moment in, effects out. It starts, signals and logs nothing itself, and
//! allocates nothing in [`Supervisor::step`] beyond the room that its caller reserved.

mod start;
mod stop;
mod unit;

use super::backoff::Random;
use super::order::Order;
use crate::clock::Moment;
use formats::service::Service;
use formats::status::LastExit;
use std::time::Duration;
use unit::State;

pub use unit::Unit;

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
    /// There was nothing to start: its condition does not hold.
    Skipped(usize),
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
            Event::Skipped(index) => self.skipped(index),
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
}

#[cfg(test)]
mod tests;
