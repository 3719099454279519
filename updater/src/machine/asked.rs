//! What a person asks, at each point of an update's course: done, or refused with a sentence.
//!
//! A refusal changes nothing.

use super::{Ask, Effect, Machine, Now};
use formats::release::Reason;
use formats::update::{Outcome, Phase};

impl Machine {
    pub(super) fn ask(&mut self, ask: Ask, now: Now) -> Result<Vec<Effect>, String> {
        let phase = self.memory.phase.clone();
        match (ask, phase) {
            (Ask::Check, _) if self.may_check() => Ok(self.check()),
            (Ask::Check | Ask::Apply, _) if self.checking => {
                self.wished |= ask == Ask::Apply;
                Ok(Vec::new())
            }
            (Ask::Apply, Phase::Waiting { version }) => Ok(self.begin(version)),
            (Ask::Apply, Phase::Idle) => {
                self.wished = true;
                Ok(self.check())
            }
            (Ask::Reboot, Phase::Staged { .. }) => {
                self.wished = true;
                Ok(vec![Effect::AskHealth])
            }
            (Ask::Reboot, _) => Err("nothing is staged: first `skeg update apply`".into()),
            (Ask::Rollback { to }, Phase::Idle | Phase::Waiting { .. } | Phase::OnTrial { .. }) => {
                let from = self.running;
                self.note(now, from, Outcome::RolledBack, "by hand");
                let deny = Effect::Deny(from, Reason::ByHand, "rolled back by hand".into());
                let mut effects = vec![deny];
                effects.extend(self.enter(Phase::Idle, [Effect::Prefer(to), Effect::Reboot]));
                Ok(effects)
            }
            (Ask::Pin(version), Phase::Idle | Phase::Waiting { .. }) => {
                self.memory.pinned = version;
                let other = version.filter(|v| *v != self.running);
                let prefer = other.map(Effect::Prefer);
                Ok(self.enter(Phase::Idle, prefer))
            }
            (Ask::Cancel, Phase::Waiting { version }) => {
                self.note(now, version, Outcome::Cancelled, "before it was fetched");
                Ok(self.enter(Phase::Idle, []))
            }
            (Ask::Cancel, Phase::Staging { version }) => {
                self.note(now, version, Outcome::Cancelled, "while it was written");
                Ok(self.enter(Phase::Idle, [Effect::StopStaging]))
            }
            (Ask::Cancel, Phase::Staged { version } | Phase::Inconclusive { version, .. }) => {
                self.note(now, version, Outcome::Cancelled, "before it was booted");
                let mut effects = vec![Effect::Discard(version)];
                effects.extend(self.enter(Phase::Idle, []));
                Ok(effects)
            }
            (Ask::Cancel, Phase::Idle) => Err("no update is under way".into()),
            (_, phase) => Err(busy(&phase)),
        }
    }
}

fn busy(phase: &Phase) -> String {
    let (what, version) = match phase {
        Phase::Idle => return "nothing is under way".into(),
        Phase::Waiting { version } => ("waits", version),
        Phase::Staging { version } => ("is being written", version),
        Phase::Staged { version } => ("is staged", version),
        Phase::Rebooting { version } => ("is about to be booted", version),
        Phase::OnTrial { version } => ("is on trial", version),
        Phase::Returned { version, .. } => ("failed, and the release before it is judged", version),
        Phase::Inconclusive { version, .. } => ("is tried again later", version),
    };
    format!("release {version} {what}: `skeg update cancel` first, or wait")
}
