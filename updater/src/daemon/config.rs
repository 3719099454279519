//! `/etc/skeg/update.toml`: from where, which channel, and what the host does by itself.
//!
//! A key that is not known is refused: a host that updates otherwise than was meant is worse than one
//! that says why it does not.

use crate::machine::Rules;
use crate::strategy::Conditions;
use crate::strategy::lock::FleetLock;
use crate::strategy::windows::Window;
use crate::strategy::zone::Zone;
use formats::name::Name;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URLs or folders of repositories, the first that answers is taken.
    pub sources: Vec<String>,
    /// The channel to follow.
    pub channel: Name,
    /// The first root: whose keys are believed, and those that they lead to.
    #[serde(default = "root")]
    pub root: PathBuf,
    /// What the host does unasked.
    #[serde(default)]
    pub strategy: Strategy,
    /// When it may go down, for strategy `windows`.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// The zone of the windows, as a POSIX `TZ` text.
    #[serde(default = "utc")]
    pub zone: Zone,
    /// Whose leave it needs, for strategy `fleet-lock`.
    pub fleet_lock: Option<FleetLock>,
    /// Seconds between two looks, up to a tenth more.
    #[serde(default = "hour")]
    pub poll_seconds: u64,
    /// How long units may take to be healthy on a new release, in seconds.
    #[serde(default = "five_minutes")]
    pub trial_seconds: u64,
}

/// When a release is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// As soon as it is found.
    Immediate,
    /// Staged as soon as it is found, booted in a window.
    Windows,
    /// Staged as soon as it is found, booted with a slot of a fleet_lock server.
    FleetLock,
    /// When a person says so.
    #[default]
    Manual,
}

fn root() -> PathBuf {
    "/etc/skeg/update-root.jsonl".into()
}

fn utc() -> Zone {
    Zone::UTC
}

fn hour() -> u64 {
    3600
}

fn five_minutes() -> u64 {
    300
}

impl Config {
    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// A sentence: which file, which line, what is wrong.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(told(&e)),
            Ok(text) => text,
        };
        let config: Self = toml::from_str(&text).map_err(|e| told(&e))?;
        let lacks = match config.strategy {
            Strategy::Windows if config.windows.is_empty() => Some("[[windows]]"),
            Strategy::FleetLock if config.fleet_lock.is_none() => Some("[fleet_lock]"),
            _ => None,
        };
        match lacks {
            Some(table) => Err(told(&format!("this strategy needs a table {table}"))),
            None => Ok(Some(config)),
        }
    }

    /// What has to hold before the host goes down. A lock may be wanted beside windows.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        let windows = self.strategy == Strategy::Windows;
        let unattended = self.strategy != Strategy::Manual;
        Conditions {
            windows: windows.then(|| (self.windows.clone(), self.zone)),
            lock: self.fleet_lock.clone().filter(|_| unattended),
        }
    }

    /// What the host does by itself.
    #[must_use]
    pub fn rules(&self, seed: u64) -> Rules {
        Rules {
            unattended: self.strategy != Strategy::Manual,
            poll: Some(Duration::from_secs(self.poll_seconds.max(10))),
            seed,
        }
    }

    /// How long a trial may take.
    #[must_use]
    pub fn trial(config: Option<&Self>) -> Duration {
        let seconds = config.map_or_else(five_minutes, |c| c.trial_seconds);
        Duration::from_secs(seconds.clamp(10, 3600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Config>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn the_least_is_a_source_and_a_channel_and_nothing_happens_unasked() {
        let config = read("sources = [\"http://a/\"]\nchannel = \"stable\"\n");
        let config = config.unwrap().unwrap();
        assert_eq!(config.strategy, Strategy::Manual);
        assert!(!config.rules(0).unattended);
        assert_eq!(Config::trial(Some(&config)), Duration::from_secs(300));
        assert_eq!(Config::read(Path::new("/nonexistent")), Ok(None));
    }

    #[test]
    fn windows_and_a_lock_may_both_be_asked_for() {
        let base = "sources = []\nchannel = \"stable\"\n";
        let lock = "[fleet_lock]\nurl = \"http://lock/\"\n";
        let text = format!(
            "{base}strategy = \"windows\"\nzone = \"CET-1\"\n\
             [[windows]]\nstart = \"02:00\"\nminutes = 60\n{lock}"
        );
        let both = read(&text).unwrap().unwrap();
        assert!(both.rules(0).unattended);
        assert!(both.conditions().windows.is_some());
        assert_eq!(both.conditions().lock.unwrap().group, "default");
        let manual = read(&format!("{base}{lock}")).unwrap().unwrap();
        assert_eq!(manual.conditions(), Conditions::default());
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let base = "sources = []\nchannel = \"stable\"\n";
        for (more, word) in [
            ("stratgy = \"manual\"\n", "stratgy"),
            ("strategy = \"whenever\"\n", "whenever"),
            ("poll_seconds = \"often\"\n", "poll_seconds"),
            ("strategy = \"windows\"\n", "[[windows]]"),
            ("strategy = \"fleet-lock\"\n", "[fleet_lock]"),
            ("zone = \"Europe/Berlin\"\n", "POSIX TZ"),
        ] {
            let error = read(&format!("{base}{more}")).unwrap_err();
            assert!(
                error.contains(word) && error.contains("update.toml"),
                "{error}"
            );
        }
        assert!(read("sources = []\nchannel = \"../x\"\n").is_err());
    }
}
