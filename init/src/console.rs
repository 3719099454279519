//! Lines for whoever watches the machine's console.
//!
//! It never blocks PID 1: a console that takes no more bytes loses the line.

use crate::clock::Moment;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The console, or nothing when the machine has none.
#[derive(Debug, Default)]
pub struct Console {
    file: Option<File>,
}

impl Console {
    /// Opens a terminal or any other file to write lines to.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let flags = flags | OFlags::APPEND;
        let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
        Self { file: file.ok() }
    }

    /// Whether there is a console at all.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Writes one line, `skeg: text`.
    pub fn say(&self, text: &str) {
        self.line(&format!("skeg: {}\n", printable(text)));
    }

    /// Writes a stage of the boot timeline, `skeg: [   1.450] name`.
    pub fn stage(&self, name: &str, at: Moment) {
        let (seconds, millis) = (at.as_secs(), at.subsec_millis());
        self.line(&format!("skeg: [{seconds:4}.{millis:03}] {name}\n"));
    }

    fn line(&self, line: &str) {
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// Control bytes of a service's text must not steer the terminal.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stage_is_told_in_the_form_that_tests_look_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let console = Console::open(file.path());
        console.stage("init", Duration::from_micros(1_450_900));
        console.say("web: \x1b[2Jfailed");
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "skeg: [   1.450] init\nskeg: web:  [2Jfailed\n");
    }

    #[test]
    fn a_machine_without_a_console_goes_on() {
        Console::open(Path::new("/nonexistent/console")).say("lost");
    }
}
