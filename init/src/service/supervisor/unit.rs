//! One service as the supervisor knows it: its state, its numbers, its next deadline.
//!
//! Only the supervisor changes it; everybody else reads.

use super::FLAPPING;
use crate::clock::Moment;
use crate::service::backoff::STABLE;
use formats::status::{LastExit, ServiceState};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
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
    pub(super) state: State,
    pub(super) pid: Option<u32>,
    pub(super) restarts: u32,
    pub(super) failures: u32,
    pub(super) settled: bool,
    pub(super) was_started: bool,
    pub(super) started_at: Moment,
    pub(super) period: Option<Duration>,
    pub(super) watchdog_at: Option<Moment>,
    pub(super) last_exit: Option<LastExit>,
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

    pub(super) fn at_rest(&self) -> bool {
        matches!(
            self.state,
            State::Done | State::Failed | State::Waiting | State::Restarting { .. }
        )
    }

    pub(super) fn satisfies(&self) -> bool {
        matches!(self.state, State::Running) || (self.state == State::Done && self.was_started)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
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
