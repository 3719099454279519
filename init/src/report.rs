//! What PID 1 tells: stages and degraded states, on the console, to the journal and in files for others.
//!
//! The files lie on a tmpfs and are replaced as a whole; a write that fails changes nothing else.

use crate::clock::{Moment, now};
use crate::console::Console;
use crate::degraded::DegradedSet;
use crate::journal::batch::Batch;
use crate::timeline::Timeline;
use formats::journal::INIT;
use formats::status::{Status, write_json};
use std::cell::{RefCell, RefMut};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lines up to this priority (4: warning) are for people at the console.
const URGENT: u8 = 4;

/// Console, timeline and degraded states, and the lines for the journal.
#[derive(Debug)]
pub struct Report {
    console: Console,
    batch: RefCell<Batch>,
    timeline: Timeline,
    degraded: DegradedSet,
    timeline_path: PathBuf,
    changed: bool,
}

impl Report {
    /// Starts with nothing reached and nothing degraded.
    #[must_use]
    pub fn new(console: Console, timeline_path: &Path) -> Self {
        Self {
            console,
            batch: RefCell::default(),
            timeline: Timeline::default(),
            degraded: DegradedSet::default(),
            timeline_path: timeline_path.to_owned(),
            changed: false,
        }
    }

    /// A line on the console.
    pub fn say(&self, text: &str) {
        self.console.say(text);
        self.keep(INIT, 6, text);
    }

    /// A line of a service: on the console if it is urgent.
    pub fn heard(&self, service: &str, priority: u8, text: &str) {
        if priority <= URGENT {
            self.console.say(&format!("{service}: {text}"));
        }
        self.keep(service, priority, text);
    }

    fn keep(&self, unit: &str, priority: u8, text: &str) {
        let mut batch = self.batch.borrow_mut();
        batch.push(now(), unit, priority, text);
    }

    /// The lines that wait for the journal. To be let go of before the next line.
    pub fn batch(&self) -> RefMut<'_, Batch> {
        self.batch.borrow_mut()
    }

    /// Stamps a stage, once; true the first time.
    pub fn stage(&mut self, name: &str, at: Moment) -> bool {
        let first = self.timeline.stamp(name, at);
        if first {
            self.console.stage(name, at);
            self.keep(INIT, 6, &format!("reached {name}"));
            self.publish_timeline();
        }
        first
    }

    /// Whether a stage whose name begins like this was stamped.
    #[must_use]
    pub fn has_stage(&self, prefix: &str) -> bool {
        self.timeline.has(prefix)
    }

    /// Writes `boot.json`; the first stages come before there is a place for it.
    pub fn publish_timeline(&self) {
        let _ = replace(&self.timeline_path, &self.timeline.json());
    }

    /// The whole boot in one line on the console.
    pub fn summary(&self) {
        self.say(&self.timeline.summary());
    }

    /// Shows a degraded state.
    pub fn degrade(&mut self, name: &str, text: &str) {
        if self.degraded.add(name, text) {
            let text = format!("degraded: {name}: {text}");
            self.console.say(&text);
            self.keep(INIT, URGENT, &text);
            self.changed = true;
        }
    }

    /// Takes a degraded state back.
    pub fn restore(&mut self, name: &str) {
        if self.degraded.clear(name) {
            self.say(&format!("no longer degraded: {name}"));
            self.changed = true;
        }
    }

    /// The degraded states.
    #[must_use]
    pub fn degraded(&self) -> &DegradedSet {
        &self.degraded
    }

    /// Something that `status.json` shows has changed.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether `status.json` is to be written, which the caller then does.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// Writes `status.json`.
///
/// # Errors
/// As create, write or rename.
pub fn publish_status(path: &Path, status: &Status) -> io::Result<()> {
    let mut text = String::with_capacity(1024);
    // Writing to a String cannot fail.
    let _ = write_json(&mut text, status);
    replace(path, &text)
}

fn replace(path: &Path, content: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    options.open(&new)?.write_all(content.as_bytes())?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_stage_is_in_the_file_as_soon_as_it_is_stamped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot.json");
        let mut report = Report::new(Console::default(), &path);
        assert!(report.stage("init", Duration::from_secs(1)));
        assert!(!report.stage("init", Duration::from_secs(2)));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            r#"{"format":1,"stages":[{"name":"init","at_us":1000000}]}"#
        );
    }

    #[test]
    fn only_a_change_asks_for_a_new_status() {
        let mut report = Report::new(Console::default(), Path::new("/nonexistent/boot.json"));
        report.degrade("a", "x");
        assert!(report.take_change());
        report.degrade("a", "x");
        assert!(!report.take_change());
        report.restore("a");
        assert!(report.take_change());
    }
}
