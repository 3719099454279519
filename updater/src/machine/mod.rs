//! An update's course as a value: idle → waiting → staging → staged → rebooting → on trial → good, or
//! back.
//!
//! No clock, no file, no network: `now` comes with each event, and whoever drives it carries the
//! effects out in their order. An effect that fails comes back as an event. [`Effect::Remember`] stands
//! before whatever a cut must not repeat blindly.

mod asked;
mod history;
mod resume;
#[cfg(test)]
mod tests;

use formats::release::Reason;
use formats::update::{Memory, Outcome, Phase};
use formats::version::Version;
use std::time::Duration;

use history::told;
pub use resume::{Seen, resume};

/// Tries of a release that was inconclusive, before it is denied all the same.
const MOST_TIMES: u32 = 3;
/// Before a host that could not go down tries again.
const AGAIN: Duration = Duration::from_secs(300);
/// The first pause after an inconclusive trial; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(3600);

/// Both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the kernel started.
    pub boot: Duration,
    /// Nanoseconds since the epoch.
    pub epoch_ns: u64,
}

/// What a host does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Stages and reboots unasked.
    pub unattended: bool,
    /// Between two looks for a release, up to a tenth more; none: never unasked.
    pub poll: Option<Duration>,
    /// Where in that tenth, another on each host: not all of them look at once.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A deadline may have passed.
    Tick,
    /// A look for a release has ended: the newest that may be taken, if any.
    Offered(Option<Version>),
    /// A look for a release has failed.
    CheckFailed,
    /// The release lies on the ESP.
    Staged,
    /// It does not.
    StageFailed(String),
    /// The units that are healthy now, before the drain; none if nobody tells.
    Healthy(Option<Vec<String>>),
    /// The expected units are healthy.
    Passed(Vec<String>),
    /// They are not, at the deadline.
    Failed(String),
    /// What the failed boot said last, told before the old release's judgement.
    LastWords(Vec<String>),
    /// Whether the strategy lets the host go down; if not, when to ask again.
    MayLeave(Result<(), Duration>),
    /// The memory could not be made durable, e.g. on a full STATE, or PID 1 does not go down; the
    /// effects behind that one were dropped.
    Hindered(String),
    /// The counter could not be taken from the running release, and is tried again.
    BlessAgain,
    /// A person asks.
    Ask(Ask),
}

/// What a person may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Look for a release.
    Check,
    /// Stage what was found.
    Apply,
    /// Boot what is staged.
    Reboot,
    /// Back to the release before.
    Rollback {
        /// Which one that is.
        to: Version,
    },
    /// Hold the host at a release.
    Pin(Option<Version>),
    /// Drop what was found or staged.
    Cancel,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the memory durable.
    Remember,
    /// Look for a release; ends in `Offered` or `CheckFailed`.
    Check,
    /// Fetch and write it; ends in `Staged` or `StageFailed`.
    Stage(Version),
    /// Give up a staging that is under way.
    StopStaging,
    /// Remove a staged release that was never tried.
    Discard(Version),
    /// Ask which units are healthy; ends in `Healthy`.
    AskHealth,
    /// Ask the strategy whether the host may go down; ends in `MayLeave`.
    AskLeave,
    /// Wait until these units are healthy; ends in `Passed` or `Failed`. None: the host's own probe.
    Judge(Vec<String>),
    /// Write the record that this boot is good.
    BootOk(Vec<String>),
    /// Take the counter from the running release.
    Bless,
    /// Put a release behind every other.
    PutBehind(Version),
    /// Make a release on the ESP the next to boot.
    Prefer(Version),
    /// Write a deny record.
    Deny(Version, Reason, String),
    /// Take a deny record back.
    Allow(Version),
    /// Shut down in order and reboot.
    Reboot,
}

/// The value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What is remembered.
    pub memory: Memory,
    /// The release that runs.
    pub running: Version,
    rules: Rules,
    /// When to look next.
    check_at: Option<Duration>,
    checking: bool,
    /// When to ask again whether the host may go down.
    leave_at: Option<Duration>,
    /// Changes at each look.
    jitter: u64,
    /// A person wants what the next look finds.
    wished: bool,
    /// What the failed boot said last.
    last_words: Vec<String>,
}

impl Machine {
    /// Takes one event. An error is a sentence for whoever asked; nothing has changed then.
    ///
    /// # Errors
    /// Only for [`Event::Ask`].
    pub fn step(&mut self, event: Event, now: Now) -> Result<Vec<Effect>, String> {
        match event {
            Event::Tick => Ok(self.tick(now)),
            Event::Offered(found) => Ok(self.offered(found, now)),
            Event::CheckFailed => {
                self.looked(now);
                Ok(Vec::new())
            }
            Event::Staged => Ok(self.staged(now)),
            Event::StageFailed(text) => Ok(self.stage_failed(&text, now)),
            Event::Healthy(units) => Ok(self.healthy(units)),
            Event::Passed(units) => Ok(self.passed(units, now)),
            Event::Failed(text) => Ok(self.failed(text, now)),
            Event::LastWords(lines) => {
                self.last_words = lines;
                Ok(Vec::new())
            }
            Event::MayLeave(answer) => Ok(self.may_leave(answer, now)),
            Event::Hindered(text) => Ok(self.hindered(&text, now)),
            Event::BlessAgain => Ok(match self.memory.phase {
                Phase::OnTrial { .. } => Vec::new(),
                _ => vec![Effect::Bless],
            }),
            Event::Ask(ask) => self.ask(ask, now),
        }
    }

    /// Whether a memory that is not durable keeps the host from going on: on trial it would be judged by
    /// another set than was healthy. A host that goes back does so without.
    #[must_use]
    pub fn may_be_hindered(&self) -> bool {
        matches!(
            self.memory.phase,
            Phase::Staging { .. } | Phase::Rebooting { .. }
        )
    }

    fn hindered(&mut self, text: &str, now: Now) -> Vec<Effect> {
        match self.memory.phase {
            Phase::Staging { .. } => self.stage_failed(text, now),
            Phase::Rebooting { version } => {
                self.memory.phase = Phase::Staged { version };
                self.leave_at = Some(now.boot + AGAIN);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// When [`Event::Tick`] is due at the latest, since the kernel started.
    #[must_use]
    pub fn next_deadline(&self, now: Now) -> Option<Duration> {
        let again = match self.memory.phase {
            Phase::Inconclusive { until_ns, .. } => {
                let left = Duration::from_nanos(until_ns.saturating_sub(now.epoch_ns));
                Some(now.boot.saturating_add(left))
            }
            _ => None,
        };
        let check = self.check_at.filter(|_| self.may_check());
        let leave = self.leave_at.filter(|_| self.is_staged());
        [again, check, leave].into_iter().flatten().min()
    }

    fn is_staged(&self) -> bool {
        matches!(self.memory.phase, Phase::Staged { .. })
    }

    fn may_check(&self) -> bool {
        let free = matches!(self.memory.phase, Phase::Idle | Phase::Waiting { .. });
        free && !self.checking
    }

    fn tick(&mut self, now: Now) -> Vec<Effect> {
        if let Phase::Inconclusive {
            version, until_ns, ..
        } = self.memory.phase
            && now.epoch_ns >= until_ns
        {
            // Preferred first: a cut before the memory boots it, and it is judged.
            let mut effects = vec![Effect::Prefer(version)];
            effects.extend(self.enter(Phase::Staged { version }, [Effect::AskHealth]));
            return effects;
        }
        if self.is_staged() && self.leave_at.is_some_and(|at| now.boot >= at) {
            // What is healthy is measured anew: it may be days since it was.
            self.leave_at = None;
            return vec![Effect::AskHealth];
        }
        match self.check_at {
            Some(at) if now.boot >= at && self.may_check() => self.check(),
            _ => Vec::new(),
        }
    }

    fn check(&mut self) -> Vec<Effect> {
        self.checking = true;
        vec![Effect::Check]
    }

    fn looked(&mut self, now: Now) {
        self.checking = false;
        let (pause, more) = (self.rules.poll, self.more());
        self.check_at = pause.map(|pause| now.boot + pause + more);
    }

    /// Up to a tenth of a pause (xorshift64; a seed of 0 gives none).
    fn more(&mut self) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let most = self.rules.poll.unwrap_or_default() / 10;
        most.mul_f64(f64::from((self.jitter >> 32) as u32) / f64::from(u32::MAX))
    }

    fn offered(&mut self, found: Option<Version>, now: Now) -> Vec<Effect> {
        self.looked(now);
        let wished = std::mem::take(&mut self.wished);
        let found =
            found.filter(|v| *v > self.running && self.memory.pinned.is_none_or(|p| p == *v));
        match (&self.memory.phase, found) {
            (Phase::Idle | Phase::Waiting { .. }, Some(version)) => {
                if wished || self.rules.unattended {
                    self.begin(version)
                } else {
                    self.enter(Phase::Waiting { version }, [])
                }
            }
            // It was withdrawn.
            (Phase::Waiting { .. }, None) => self.enter(Phase::Idle, []),
            _ => Vec::new(),
        }
    }

    /// The healthy set is known before there is anything that could boot.
    fn begin(&mut self, version: Version) -> Vec<Effect> {
        self.enter(Phase::Staging { version }, [Effect::AskHealth])
    }

    fn staged(&mut self, now: Now) -> Vec<Effect> {
        let Phase::Staging { version } = self.memory.phase else {
            return Vec::new();
        };
        self.note(now, version, Outcome::Staged, "written and read back");
        // Asked now, too: somebody may reboot the host at any moment.
        self.enter(Phase::Staged { version }, [Effect::AskHealth])
    }

    fn stage_failed(&mut self, text: &str, now: Now) -> Vec<Effect> {
        let Phase::Staging { version } = self.memory.phase else {
            return Vec::new();
        };
        let last = self.memory.history.last();
        let told = last.is_some_and(|e| {
            (e.version, e.outcome, &*e.detail) == (version, Outcome::NotStaged, text)
        });
        if !told {
            self.note(now, version, Outcome::NotStaged, text);
        }
        self.enter(Phase::Waiting { version }, [])
    }

    fn healthy(&mut self, units: Option<Vec<String>>) -> Vec<Effect> {
        self.memory.expected = units.unwrap_or_default();
        match self.memory.phase {
            Phase::Staging { version } => vec![Effect::Remember, Effect::Stage(version)],
            // A person is kept by nothing.
            Phase::Staged { version } if self.wished => {
                self.wished = false;
                self.enter(Phase::Rebooting { version }, [Effect::Reboot])
            }
            Phase::Staged { .. } if self.rules.unattended => {
                vec![Effect::Remember, Effect::AskLeave]
            }
            _ => vec![Effect::Remember],
        }
    }

    fn may_leave(&mut self, answer: Result<(), Duration>, now: Now) -> Vec<Effect> {
        match (&self.memory.phase, answer) {
            (Phase::Staged { version }, Ok(())) => {
                let version = *version;
                self.enter(Phase::Rebooting { version }, [Effect::Reboot])
            }
            (_, Ok(())) => Vec::new(),
            (_, Err(pause)) => {
                self.leave_at = Some(now.boot + pause);
                Vec::new()
            }
        }
    }

    fn passed(&mut self, units: Vec<String>, now: Now) -> Vec<Effect> {
        match self.memory.phase.clone() {
            Phase::OnTrial { version } => {
                self.note(now, version, Outcome::Good, &told(&units));
                // Blessed first: a cut before the memory finds a blessed release, and knows what it means.
                let mut effects = vec![Effect::Bless];
                effects.extend(self.enter(Phase::Idle, [Effect::BootOk(units)]));
                effects
            }
            Phase::Returned {
                version,
                reason,
                detail,
            } => {
                self.note_failed(now, version, Outcome::RolledBack, &detail);
                let mut effects = vec![Effect::Deny(version, reason, detail)];
                effects.extend(self.enter(Phase::Idle, []));
                effects
            }
            _ => Vec::new(),
        }
    }

    fn failed(&mut self, text: String, now: Now) -> Vec<Effect> {
        match self.memory.phase.clone() {
            Phase::OnTrial { version } => {
                let phase = Phase::Returned {
                    version,
                    reason: Reason::Unhealthy,
                    detail: text,
                };
                self.enter(phase, [Effect::PutBehind(version), Effect::Reboot])
            }
            Phase::Returned {
                version,
                reason,
                detail,
            } => self.inconclusive(
                version,
                reason,
                &format!("{detail}; without it: {text}"),
                now,
            ),
            _ => Vec::new(),
        }
    }

    fn inconclusive(
        &mut self,
        version: Version,
        reason: Reason,
        text: &str,
        now: Now,
    ) -> Vec<Effect> {
        let before = self.memory.history.iter();
        let before = before.filter(|e| e.version == version && e.outcome == Outcome::Inconclusive);
        let times = u32::try_from(before.count()).unwrap_or(u32::MAX);
        if times >= MOST_TIMES {
            self.note_failed(now, version, Outcome::RolledBack, text);
            let mut effects = vec![Effect::Deny(version, reason, text.to_owned())];
            effects.extend(self.enter(Phase::Idle, []));
            return effects;
        }
        self.note_failed(now, version, Outcome::Inconclusive, text);
        let pause = u64::try_from((FIRST_PAUSE * (1 << times)).as_nanos()).unwrap_or(u64::MAX);
        let phase = Phase::Inconclusive {
            version,
            times: times + 1,
            until_ns: now.epoch_ns.saturating_add(pause),
        };
        self.enter(phase, [])
    }

    fn enter(&mut self, phase: Phase, then: impl IntoIterator<Item = Effect>) -> Vec<Effect> {
        self.memory.phase = phase;
        let mut effects = vec![Effect::Remember];
        effects.extend(then);
        effects
    }
}
