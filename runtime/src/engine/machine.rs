//! A container's life as a value: events in, effects out.
//!
//! No clock, no file, no process: `now` comes with each event, and one task a container carries the
//! effects out in their order.

mod rules;

use std::time::Duration;

use super::backoff;
use super::options::{OnFailure, ReadyBy, RestartPolicy};
use super::record::{ExitRecord, Health, Phase, Process, State, StoppedBy};
use crate::network::Attachment;
pub use rules::Rules;

/// A run of at least this long counts as a success: the back-off begins anew.
const SETTLED: Duration = Duration::from_secs(10);
/// No alarm is further away: a time from outside must not overflow a clock.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Between two kills of a cgroup that does not empty.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// It shall run. `keen`: a start that fails is tried again by the policy (units, boot).
    Start {
        /// Whether to try again.
        keen: bool,
    },
    /// Its process runs.
    Started {
        /// Which one.
        process: Process,
        /// Wall clock, nanoseconds since the epoch.
        at_ns: u64,
        /// Its place on the bridge.
        network: Option<Attachment>,
    },
    /// It could not be started.
    StartFailed {
        /// Why.
        message: String,
        /// Exit status for a command line.
        code: u8,
    },
    /// Its process has ended and its output is on disk.
    Exited(ExitRecord),
    /// It shall end.
    Stop {
        /// Who wants it.
        by: StoppedBy,
        /// Instead of its own timeout.
        timeout: Option<Duration>,
    },
    /// An engine took it over while it was being stopped: the signal may not have been sent.
    Resumed,
    /// It is in other networks than before.
    Moved {
        /// The run that this is true of.
        process: Process,
        /// Its places now.
        network: Option<Box<Attachment>>,
    },
    /// It says itself that it is ready.
    Ready {
        /// The run that this is true of.
        process: Process,
    },
    /// Its checks say something else than before.
    Judged {
        /// The run that this is true of.
        process: Process,
        /// What they say.
        health: Health,
    },
    /// Its checks have given it up before the first of them passed.
    Unfit {
        /// The run that this is true of.
        process: Process,
    },
    /// A user sends a signal.
    Signal(i32),
    /// It shall go; what runs is killed.
    Remove,
    /// The armed moment has come.
    Alarm,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the process; ends in `Started` or `StartFailed`.
    Launch,
    /// Make the state durable.
    Persist,
    /// Let PID 1 forget the process.
    Release,
    /// Free network, cgroup and the like.
    CleanUp,
    /// Send a signal to the main process.
    Signal(i32),
    /// SIGKILL to all of the cgroup.
    KillAll,
    /// Delete it.
    Remove,
}

/// The value.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What is on disk.
    pub state: State,
    /// When [`Event::Alarm`] is due.
    pub alarm: Option<Duration>,
    rules: Rules,
    /// Restarts since a run that settled.
    streak: u32,
    keen: bool,
    removing: bool,
    stop_timeout: Option<Duration>,
    up_since: Duration,
    /// It is ended for what it does not do: that is a failure, whatever its exit status.
    unfit: bool,
    /// It comes back after its end, whatever its policy.
    comes_back: bool,
}

impl Machine {
    /// Takes a state up.
    pub fn new(state: State, rules: Rules, now: Duration) -> Self {
        Self {
            state,
            alarm: None,
            rules,
            streak: 0,
            keen: false,
            removing: false,
            stop_timeout: None,
            up_since: now,
            unfit: false,
            comes_back: false,
        }
    }

    /// Whether it goes for good: what its state would say does not matter any more.
    pub fn is_going(&self) -> bool {
        self.removing
    }

    /// Goes on by other rules.
    pub fn ruled(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes one event.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        match event {
            Event::Start { keen } => self.start(keen),
            Event::Started {
                process,
                at_ns,
                network,
            } => self.started(process, at_ns, network, now),
            Event::StartFailed { message, code } => self.start_failed(message, code, now),
            Event::Exited(exit) => self.exited(exit, now),
            Event::Stop { by, timeout } => self.stop(by, timeout, now),
            Event::Resumed if self.state.phase == Phase::Stopping => self.begin_stop(now),
            Event::Resumed => {
                self.await_ready(now);
                Vec::new()
            }
            Event::Ready { process } if self.runs(process) => self.ready(),
            Event::Judged { process, health } if self.runs(process) => self.judged(health, now),
            Event::Unfit { process } if self.runs(process) => self.end_unfit(now),
            Event::Ready { .. } | Event::Judged { .. } | Event::Unfit { .. } => Vec::new(),
            Event::Signal(signal) => self.signal(signal),
            Event::Moved { process, network } => self.moved(process, network),
            Event::Remove => self.remove(now),
            Event::Alarm => self.alarm(now),
        }
    }

    fn start(&mut self, keen: bool) -> Vec<Effect> {
        if self.removing
            || self.state.removing
            || self.state.phase.is_up()
            || self.state.phase == Phase::Starting
        {
            return Vec::new();
        }
        self.keen = keen;
        self.streak = 0;
        self.state.restarts = 0;
        self.state.stopped_by = None;
        self.state.late = false;
        self.launch()
    }

    fn launch(&mut self) -> Vec<Effect> {
        self.alarm = None;
        self.stop_timeout = None;
        (self.unfit, self.comes_back) = (false, false);
        self.state.phase = Phase::Starting;
        self.state.error = None;
        vec![Effect::Persist, Effect::Launch]
    }

    fn started(
        &mut self,
        process: Process,
        at_ns: u64,
        network: Option<Attachment>,
        now: Duration,
    ) -> Vec<Effect> {
        self.state.phase = Phase::Running;
        self.state.process = Some(process);
        self.state.last_pid = process.pid;
        self.state.started_ns = Some(at_ns);
        self.state.network = network;
        self.state.exit = None;
        self.state.health = self.rules.checked.then_some(Health::Starting);
        self.state.waiting = self.rules.ready_by.is_some();
        self.keen = true;
        self.up_since = now;
        let mut effects = vec![Effect::Persist];
        if self.removing {
            effects.push(Effect::KillAll);
            self.alarm = Some(now + KILL_AGAIN);
        } else if self.state.stopped_by.is_some() {
            effects.extend(self.begin_stop(now));
        } else {
            self.await_ready(now);
        }
        effects
    }

    fn runs(&self, process: Process) -> bool {
        self.state.phase == Phase::Running && self.state.process == Some(process)
    }

    /// From now on its time runs.
    fn await_ready(&mut self, now: Duration) {
        if self.state.phase == Phase::Running && self.state.waiting && !self.removing {
            self.alarm = self.rules.ready_within.map(|within| due(now, within));
        }
    }

    fn ready(&mut self) -> Vec<Effect> {
        if !std::mem::replace(&mut self.state.waiting, false) {
            return Vec::new();
        }
        self.state.late = false;
        if !self.removing {
            self.alarm = None;
        }
        vec![Effect::Persist]
    }

    fn judged(&mut self, health: Health, now: Duration) -> Vec<Effect> {
        self.state.health = Some(health);
        if health == Health::Healthy && self.rules.ready_by == Some(ReadyBy::Healthy) {
            self.ready();
        }
        if health != Health::Unhealthy || self.removing {
            return vec![Effect::Persist];
        }
        match self.rules.on_failure {
            OnFailure::None => vec![Effect::Persist],
            OnFailure::Kill => self.end_unfit(now),
            how => {
                self.unfit = true;
                self.comes_back = how == OnFailure::Restart;
                self.begin_stop(now)
            }
        }
    }

    fn end_unfit(&mut self, now: Duration) -> Vec<Effect> {
        self.unfit = true;
        self.state.waiting = false;
        self.alarm = Some(now + KILL_AGAIN);
        vec![Effect::Persist, Effect::KillAll]
    }

    fn too_late(&mut self, now: Duration) -> Vec<Effect> {
        self.state.late = true;
        self.unfit = true;
        self.begin_stop(now)
    }

    fn start_failed(&mut self, message: String, code: u8, now: Duration) -> Vec<Effect> {
        self.state.error = Some(message);
        self.state.error_code = code;
        self.state.process = None;
        self.state.network = None;
        let again = self.keen && self.wants_restart(true);
        self.rest(again, now, vec![Effect::CleanUp])
    }

    fn exited(&mut self, exit: ExitRecord, now: Duration) -> Vec<Effect> {
        self.state.exit = Some(exit);
        self.state.process = None;
        self.state.network = None;
        let was_ready = !std::mem::take(&mut self.state.waiting) && !self.unfit;
        if was_ready && now.saturating_sub(self.up_since) >= SETTLED {
            self.streak = 0;
        }
        let comes_back = self.comes_back && self.state.stopped_by.is_none();
        let again = comes_back || self.wants_restart(exit.code != 0 || self.unfit);
        // Release comes after the exit is durable, and before anything that may take long.
        self.rest(again, now, vec![Effect::Release, Effect::CleanUp])
    }

    /// Down: either for good or until the alarm.
    fn rest(&mut self, again: bool, now: Duration, then: Vec<Effect>) -> Vec<Effect> {
        self.alarm = None;
        self.state.phase = Phase::Exited;
        if again && !self.removing {
            self.state.phase = Phase::Restarting;
            let pause = backoff::pause(self.rules.pause, self.streak, self.rules.seed);
            self.alarm = Some(due(now, pause));
        }
        let mut effects = vec![Effect::Persist];
        effects.extend(then);
        if self.removing || (self.rules.auto_remove && self.state.phase == Phase::Exited) {
            self.removing = true;
            effects.push(Effect::Remove);
        }
        effects
    }

    fn wants_restart(&self, failed: bool) -> bool {
        if self.state.stopped_by.is_some() || self.state.removing {
            return false;
        }
        match self.rules.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max } => failed && max.is_none_or(|max| self.streak < max),
        }
    }

    fn stop(&mut self, by: StoppedBy, timeout: Option<Duration>, now: Duration) -> Vec<Effect> {
        match self.state.phase {
            Phase::Running => {
                self.state.stopped_by = Some(by);
                self.stop_timeout = timeout;
                self.begin_stop(now)
            }
            Phase::Stopping => {
                let due = due(now, timeout.unwrap_or(self.rules.stop_timeout));
                self.alarm = Some(self.alarm.map_or(due, |alarm| alarm.min(due)));
                Vec::new()
            }
            Phase::Starting => {
                self.state.stopped_by = Some(by);
                self.stop_timeout = timeout;
                vec![Effect::Persist]
            }
            Phase::Restarting => {
                self.state.stopped_by = Some(by);
                self.state.phase = Phase::Exited;
                self.alarm = None;
                vec![Effect::Persist]
            }
            // Somebody's wish outlives a reboot, a shutdown's does not come from a wish.
            Phase::Created | Phase::Exited if by == StoppedBy::User => {
                self.state.stopped_by = Some(by);
                vec![Effect::Persist]
            }
            Phase::Created | Phase::Exited => Vec::new(),
        }
    }

    fn begin_stop(&mut self, now: Duration) -> Vec<Effect> {
        self.state.phase = Phase::Stopping;
        let timeout = self.stop_timeout.unwrap_or(self.rules.stop_timeout);
        self.alarm = Some(due(now, timeout));
        vec![Effect::Persist, Effect::Signal(self.rules.stop_signal)]
    }

    fn signal(&mut self, signal: i32) -> Vec<Effect> {
        if !self.state.phase.is_up() {
            return Vec::new();
        }
        // As docker: whoever kills a container does not want it back.
        if signal == 9 || signal == self.rules.stop_signal {
            self.state.stopped_by = Some(StoppedBy::User);
            return vec![Effect::Persist, Effect::Signal(signal)];
        }
        vec![Effect::Signal(signal)]
    }

    fn moved(&mut self, process: Process, network: Option<Box<Attachment>>) -> Vec<Effect> {
        if !self.state.phase.is_up() || self.state.process != Some(process) {
            return Vec::new();
        }
        self.state.network = network.map(|network| *network);
        vec![Effect::Persist]
    }

    fn remove(&mut self, now: Duration) -> Vec<Effect> {
        if std::mem::replace(&mut self.removing, true) {
            return Vec::new();
        }
        // Durable first: an engine that dies in between must not bring it back.
        self.state.removing = true;
        match self.state.phase {
            Phase::Running | Phase::Stopping => {
                self.alarm = Some(now + KILL_AGAIN);
                vec![Effect::Persist, Effect::KillAll]
            }
            Phase::Starting => vec![Effect::Persist],
            Phase::Created | Phase::Exited | Phase::Restarting => {
                self.alarm = None;
                self.state.phase = Phase::Exited;
                vec![Effect::Persist, Effect::Remove]
            }
        }
    }

    fn alarm(&mut self, now: Duration) -> Vec<Effect> {
        if self.alarm.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.alarm = None;
        match self.state.phase {
            Phase::Running if self.state.waiting && !self.removing => self.too_late(now),
            Phase::Running | Phase::Stopping => {
                self.alarm = Some(now + KILL_AGAIN);
                vec![Effect::KillAll]
            }
            Phase::Restarting => {
                self.streak = self.streak.saturating_add(1);
                self.state.restarts = self.state.restarts.saturating_add(1);
                self.launch()
            }
            Phase::Created | Phase::Starting | Phase::Exited => Vec::new(),
        }
    }
}

fn due(now: Duration, pause: Duration) -> Duration {
    now.saturating_add(pause.min(FAR))
}

/// Whether a container that does not run is started when the host has booted.
pub fn starts_at_boot(state: &State, restart: RestartPolicy, was_up: bool) -> bool {
    let by_user = state.stopped_by == Some(StoppedBy::User);
    if state.removing {
        return false;
    }
    match restart {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { .. } => was_up && !by_user,
        RestartPolicy::Always => state.phase != Phase::Created || state.started_ns.is_some(),
        RestartPolicy::UnlessStopped => !by_user && state.started_ns.is_some(),
    }
}

#[cfg(test)]
mod tests;
