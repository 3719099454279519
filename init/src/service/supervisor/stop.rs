//! Ending: deadlines, exits, restarts, and the stop of all in reverse order.
//!
//! The other half of the supervisor's rules is in `start`.

use super::unit::{State, Unit};
use super::{ABORT_PATIENCE, Effect, KILL_PATIENCE, LONGEST_EXTENSION, Note, Supervisor};
use crate::clock::Moment;
use crate::service::backoff::{STABLE, pause};
use formats::service::{Kind, Restart};
use formats::status::LastExit;

impl Supervisor {
    pub(super) fn stopping(&mut self, index: usize, now: Moment) {
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

    pub(super) fn missed(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
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

    pub(super) fn tick(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
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
    pub(super) fn look_at(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if now >= unit.started_at + STABLE {
            unit.failures = 0;
        }
        if unit.watchdog_at.is_some_and(|at| now >= at) {
            self.missed(index, now, effects);
        }
    }

    pub(super) fn kill(
        &mut self,
        index: usize,
        restart: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::KillGroup(index));
        let deadline = now + KILL_PATIENCE;
        self.units[index].state = State::Stopping {
            deadline,
            limit: deadline,
            killed: true,
            restart,
        };
    }

    pub(super) fn exited(
        &mut self,
        index: usize,
        exit: LastExit,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.units[index].pid = None;
        self.units[index].last_exit = Some(exit);
        if self.units[index].at_rest() {
            return;
        }
        effects.push(Effect::KillGroup(index));
        self.ended(index, exit == LastExit::Exited(0), now, effects);
    }

    /// The main process is gone, or never was.
    pub(super) fn ended(
        &mut self,
        index: usize,
        clean: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
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

    pub(super) fn failed(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
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

    pub(super) fn stop_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
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
    pub(super) fn is_needed(&self, index: usize) -> bool {
        let waits = |other: &usize| self.order.after[*other].contains(&index);
        (0..self.units.len())
            .filter(waits)
            .any(|other| !self.units[other].at_rest())
    }
}
