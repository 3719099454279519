//! What is remembered of releases, for people: bounded, oldest first.
//!
//! It decides nothing.

use super::{Machine, Now};
use formats::update::{Entry, MOST_HISTORY, MOST_WITH_LINES, Outcome};
use formats::version::Version;

impl Machine {
    pub(super) fn note(&mut self, now: Now, version: Version, outcome: Outcome, detail: &str) {
        let history = &mut self.memory.history;
        history.push(Entry {
            at_ns: now.epoch_ns,
            version,
            running: self.running,
            outcome,
            detail: detail.to_owned(),
            lines: Vec::new(),
        });
        let old = history.len().saturating_sub(MOST_HISTORY);
        history.drain(..old);
    }

    /// With what the failed boot said last; older entries give theirs up.
    pub(super) fn note_failed(
        &mut self,
        now: Now,
        version: Version,
        outcome: Outcome,
        detail: &str,
    ) {
        self.note(now, version, outcome, detail);
        if let Some(entry) = self.memory.history.last_mut() {
            entry.lines = std::mem::take(&mut self.last_words);
        }
        let told = self.memory.history.iter_mut().rev();
        for entry in told.filter(|e| !e.lines.is_empty()).skip(MOST_WITH_LINES) {
            entry.lines.clear();
        }
    }
}

pub(super) fn told(units: &[String]) -> String {
    match units {
        [] => "the host's own probe passed".into(),
        units => format!("healthy: {}", units.join(", ")),
    }
}
