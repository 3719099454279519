//! The boot timeline: what was reached when, on the console and in `/run/skeg/boot.json`.
//!
//! It holds a bounded number of stages, so that no client fills PID 1's memory with stamps.

use crate::clock::Moment;
use formats::boot::{Stage, write_json};
use std::fmt::Write;

/// Stages beyond this are not recorded: the timeline is about the boot.
pub const MOST_STAGES: usize = 256;

/// The stages so far.
#[derive(Debug, Default)]
pub struct Timeline {
    stages: Vec<Stage>,
}

impl Timeline {
    /// Records a stage; false when it was recorded before or there is no room.
    pub fn stamp(&mut self, name: &str, now: Moment) -> bool {
        if self.stages.len() >= MOST_STAGES || self.at(name).is_some() {
            return false;
        }
        let at_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let latest = self.stages.last().map_or(0, |stage| stage.at_us);
        self.stages.push(Stage {
            name: name.to_owned(),
            at_us: at_us.max(latest),
        });
        true
    }

    /// When a stage was reached, in microseconds.
    #[must_use]
    pub fn at(&self, name: &str) -> Option<u64> {
        self.stages
            .iter()
            .find(|stage| stage.name == name)
            .map(|stage| stage.at_us)
    }

    /// Whether a stage whose name begins like this was reached.
    #[must_use]
    pub fn has(&self, prefix: &str) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.name.starts_with(prefix))
    }

    /// The file's content.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = String::with_capacity(64 * self.stages.len() + 32);
        // Writing to a String cannot fail.
        let _ = write_json(&mut text, &self.stages);
        text
    }

    /// The whole boot in one line, for the moment the first container runs.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::from("boot:");
        for stage in &self.stages {
            let (name, ms) = (&stage.name, stage.at_us / 1000);
            let _ = write!(text, " {name} {}.{:03}", ms / 1000, ms % 1000);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stage_is_stamped_once_and_time_never_falls() {
        let mut timeline = Timeline::default();
        assert!(timeline.stamp("init", Duration::from_millis(1450)));
        assert!(!timeline.stamp("init", Duration::from_millis(1500)));
        assert!(timeline.stamp("state", Duration::from_millis(1449)));
        assert_eq!(timeline.at("state"), Some(1_450_000));
        assert_eq!(timeline.summary(), "boot: init 1.450 state 1.450");
    }

    #[test]
    fn stamps_without_end_do_not_fill_the_memory() {
        let mut timeline = Timeline::default();
        for i in 0..2 * MOST_STAGES {
            timeline.stamp(&i.to_string(), Duration::ZERO);
        }
        assert_eq!(timeline.stages.len(), MOST_STAGES);
    }
}
