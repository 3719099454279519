//! Starting: who may, when it counts as started, and how long it may take.
//!
//! The other half of the supervisor's rules is in `stop`.

use super::unit::State;
use super::{Effect, LONGEST_EXTENSION, Note, Supervisor};
use crate::clock::Moment;
use formats::service::Kind;
use std::time::Duration;

impl Supervisor {
    pub(super) fn start_next(&mut self, now: Moment, effects: &mut Vec<Effect>) {
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

    pub(super) fn may_start(&self, index: usize) -> bool {
        let settled = self.order.after[index]
            .iter()
            .all(|i| self.units[*i].settled);
        settled
            && self.order.requires[index]
                .iter()
                .all(|i| self.units[*i].satisfies())
    }

    pub(super) fn begin(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
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

    pub(super) fn spawned(
        &mut self,
        index: usize,
        pid: u32,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
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

    /// It is done without having run, and whoever waits for it goes on.
    pub(super) fn skipped(&mut self, index: usize) {
        let unit = &mut self.units[index];
        if !unit.at_rest() {
            unit.state = State::Done;
            unit.settled = true;
        }
    }

    pub(super) fn ready(&mut self, index: usize, now: Moment, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        if !matches!(unit.state, State::Starting { .. }) {
            return;
        }
        unit.state = State::Running;
        self.first_start(index, effects);
        self.fed(index, now);
    }

    pub(super) fn first_start(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let unit = &mut self.units[index];
        unit.settled = true;
        if !std::mem::replace(&mut unit.was_started, true) {
            effects.push(Effect::Started(index));
        }
    }

    pub(super) fn fed(&mut self, index: usize, now: Moment) {
        let unit = &mut self.units[index];
        if unit.state == State::Running {
            unit.watchdog_at = unit.period.map(|p| now.saturating_add(p));
        }
    }

    pub(super) fn extend(&mut self, index: usize, time: Duration, now: Moment) {
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
}
