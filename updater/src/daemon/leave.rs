//! Whether the host may go down, asked beside the daemon; and the lock's slot, given back once the host
//! is steady again, whatever came of the release.
//!
//! A slot that this process does not know of, since it began after the reboot, is given back too.

use super::effects::health;
use super::repositories::MACHINE_ID;
use super::{Daemon, Input, now};
use crate::gate::engine;
use crate::machine::Event;
use crate::strategy::lock::Ask;
use crate::strategy::{Wait, ask_lock};
use formats::update::Phase;
use std::path::Path;
use std::time::Duration;

/// Before a server that did not take a slot back is asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long the engine may take to tell what is at work.
const TELL: Duration = Duration::from_secs(5);

/// What is known of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Slot {
    /// Perhaps it is this host's.
    #[default]
    Unknown,
    /// It is being given back.
    Leaving,
    /// That failed; at this moment again.
    Again(Duration),
    /// The server has it.
    Returned,
}

impl Slot {
    pub(super) const fn due(self) -> Option<Duration> {
        match self {
            Self::Again(at) => Some(at),
            Self::Unknown | Self::Leaving | Self::Returned => None,
        }
    }
}

/// Whether a host in this phase is steady: it neither goes down nor is judged.
const fn is_steady(phase: &Phase) -> bool {
    match phase {
        Phase::Idle
        | Phase::Waiting { .. }
        | Phase::Staging { .. }
        | Phase::Inconclusive { .. } => true,
        Phase::Staged { .. }
        | Phase::Rebooting { .. }
        | Phase::OnTrial { .. }
        | Phase::Returned { .. } => false,
    }
}

impl Daemon {
    pub(super) fn ask_leave(&mut self) {
        let (conditions, inputs) = (self.conditions.clone(), self.inputs.clone());
        self.slot = Slot::Unknown;
        let begun = std::thread::Builder::new().spawn(move || {
            let machine_id = std::fs::read(MACHINE_ID).unwrap_or_default();
            let busy = engine::at_work(health(), TELL);
            let epoch = i64::try_from(now().epoch_ns / 1_000_000_000).unwrap_or(i64::MAX);
            let inhibitors = Path::new(formats::update::INHIBIT);
            let answer = conditions.may_leave(inhibitors, &busy, epoch, |lock, ask| {
                ask_lock(lock, &machine_id, ask)
            });
            let _ = inputs.send(Input::MayLeave(answer));
        });
        if let Err(e) = begun {
            let why = format!("start a thread: {e}");
            let _ = self
                .inputs
                .send(Input::MayLeave(Err(Wait { why, again: AGAIN })));
        }
    }

    pub(super) fn may_leave(&mut self, answer: Result<(), Wait>) {
        let (why, answer) = match answer {
            Ok(()) => (None, Ok(())),
            Err(wait) => (Some(wait.why), Err(wait.again)),
        };
        if let (Some(why), false) = (&why, self.waits == why) {
            tracing::info!("not rebooted yet: {why}");
        }
        self.waits = why;
        self.event(Event::MayLeave(answer));
    }

    /// Begins to give the slot back where it may be this host's and the host is steady.
    pub(super) fn give_slot_back(&mut self, at: Duration) {
        let due = match self.slot {
            Slot::Unknown => true,
            Slot::Again(due) => at >= due,
            Slot::Leaving | Slot::Returned => false,
        };
        let Some(lock) = self.conditions.lock.clone() else {
            return;
        };
        if !due || !is_steady(&self.machine.memory.phase) {
            return;
        }
        self.waits = None;
        let inputs = self.inputs.clone();
        let begun = std::thread::Builder::new().spawn(move || {
            let machine_id = std::fs::read(MACHINE_ID).unwrap_or_default();
            let answer = ask_lock(&lock, &machine_id, Ask::SteadyState);
            let _ = inputs.send(Input::Released(answer));
        });
        self.slot = match begun {
            Ok(_) => Slot::Leaving,
            Err(_) => Slot::Again(at + AGAIN),
        };
    }

    pub(super) fn released(&mut self, answer: Result<(), String>) {
        // Asked for anew meanwhile: then it is not given back.
        if self.slot != Slot::Leaving {
            return;
        }
        self.slot = match answer {
            Ok(()) => Slot::Returned,
            Err(text) => {
                tracing::warn!("{text}");
                Slot::Again(now().boot + AGAIN)
            }
        };
    }
}
