//! What a boot means: the memory of the last one, against what lies on the ESP now.
//!
//! A host may have been cut between any two effects; each of those cuts is a case here.

use super::{Effect, Machine, Now, Rules};
use crate::esp::slots::{Slot, Slots};
use formats::release::Reason;
use formats::update::{Memory, Outcome, Phase};
use formats::version::Version;

/// What a boot finds.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What lies on the ESP.
    pub slots: &'a Slots,
    /// This boot.
    pub boot_id: &'a str,
}

/// Takes the memory up; `seen` is none on a host without an ESP, which only remembers.
#[must_use]
pub fn resume(
    memory: Memory,
    running: Version,
    rules: Rules,
    seen: Option<Seen<'_>>,
    now: Now,
) -> (Machine, Vec<Effect>) {
    let mut machine = Machine {
        memory,
        running,
        rules,
        check_at: None,
        checking: false,
        leave_at: None,
        jitter: rules.seed,
        wished: false,
        last_words: Vec::new(),
    };
    // After a power cut of a whole site they do not look all at once either.
    let more = machine.more();
    machine.check_at = rules.poll.map(|_| now.boot + more);
    let effects = match seen {
        Some(seen) => machine.booted(seen, now),
        None => machine.enter(Phase::Idle, []),
    };
    (machine, effects)
}

impl Machine {
    fn booted(&mut self, seen: Seen<'_>, now: Now) -> Vec<Effect> {
        let rebooted = self.memory.boot_id != seen.boot_id;
        self.memory.boot_id = seen.boot_id.to_owned();
        let phase = self.memory.phase.clone();
        if seen.slots.is_trial() {
            return self.on_trial(&phase);
        }
        let mut effects = self.no_trial(phase, seen.slots, rebooted, now);
        // The release that runs was found good before: PID 1 need not wait for more.
        effects.push(Effect::BootOk(Vec::new()));
        effects
    }

    fn no_trial(&mut self, phase: Phase, slots: &Slots, rebooted: bool, now: Now) -> Vec<Effect> {
        match phase {
            Phase::Staging { version } => match slots.find(version) {
                // Its last step was done, and the memory of it cut.
                Some(slot) if is_fresh(slot) => self.staged(now),
                // The power went with that, and it was booted and did not last.
                Some(slot) if slot.uki.counter.is_some_and(|c| c.done > 0) => {
                    self.after_trial(version, slots, rebooted, now)
                }
                _ => self.enter(Phase::Waiting { version }, []),
            },
            Phase::Staged { version }
            | Phase::Rebooting { version }
            | Phase::OnTrial { version } => self.after_trial(version, slots, rebooted, now),
            // Its own judgement was cut: the same question again.
            Phase::Returned { version, .. } => {
                let judge = Effect::Judge(self.memory.expected.clone());
                self.enter(phase, [Effect::PutBehind(version), judge])
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Inconclusive { .. } => {
                self.enter(phase, [])
            }
        }
    }

    /// The running release still has its counter.
    fn on_trial(&mut self, phase: &Phase) -> Vec<Effect> {
        let version = self.running;
        match phase {
            // It was judged, and the way back was cut.
            Phase::Returned {
                version: failed, ..
            } if *failed == version => {
                self.enter(phase.clone(), [Effect::PutBehind(version), Effect::Reboot])
            }
            _ => {
                let expected = self.memory.expected.clone();
                self.enter(Phase::OnTrial { version }, [Effect::Judge(expected)])
            }
        }
    }

    /// A release was to be tried, and this is no trial.
    fn after_trial(
        &mut self,
        version: Version,
        slots: &Slots,
        rebooted: bool,
        now: Now,
    ) -> Vec<Effect> {
        if version == self.running {
            // Blessed, and the memory of it cut.
            self.note(now, version, Outcome::Good, "blessed");
            return self.enter(Phase::Idle, []);
        }
        let slot = slots.find(version);
        let counter = slot.and_then(|slot| slot.uki.counter);
        match (slot, counter) {
            (None, _) => {
                self.note(
                    now,
                    version,
                    Outcome::NotStaged,
                    "its file is gone from the ESP",
                );
                self.enter(Phase::Idle, [])
            }
            // Blessed by whoever; the loader was told otherwise.
            (Some(_), None) => self.enter(Phase::Idle, []),
            (Some(slot), Some(_)) if is_fresh(slot) && !rebooted => {
                self.enter(Phase::Staged { version }, [Effect::AskHealth])
            }
            (Some(slot), Some(_)) if is_fresh(slot) => {
                let text = "the loader did not list it: it is damaged on the ESP";
                self.returned(version, Reason::Unloadable, text)
            }
            (Some(_), Some(counter)) => {
                let text = format!(
                    "{} tries ended without a judgement: panic, hang, reset, or it could not be loaded",
                    counter.done
                );
                self.returned(version, Reason::NeverJudged, &text)
            }
        }
    }

    fn returned(&mut self, version: Version, reason: Reason, text: &str) -> Vec<Effect> {
        let phase = Phase::Returned {
            version,
            reason,
            detail: text.to_owned(),
        };
        let judge = Effect::Judge(self.memory.expected.clone());
        self.enter(phase, [Effect::PutBehind(version), judge])
    }
}

/// Named for its trial, and not tried yet.
fn is_fresh(slot: &Slot) -> bool {
    slot.uki.counter.is_some_and(|c| c.left > 0 && c.done == 0)
}
