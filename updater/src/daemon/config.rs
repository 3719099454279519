//! `/etc/skeg/update.toml`: from where, which channel, and what the host does by itself.
//!
//! A key that is not known is refused: a host that updates otherwise than was meant is worse than one
//! that says why it does not.

use crate::machine::Rules;
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
    /// Seconds between two looks.
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
    /// When a person says so.
    #[default]
    Manual,
}

fn root() -> PathBuf {
    "/etc/skeg/update-root.jsonl".into()
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
        toml::from_str(&text).map(Some).map_err(|e| told(&e))
    }

    /// What the host does by itself.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            unattended: self.strategy == Strategy::Immediate,
            poll: Some(Duration::from_secs(self.poll_seconds.max(10))),
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
        assert!(!config.rules().unattended);
        assert_eq!(Config::trial(Some(&config)), Duration::from_secs(300));
        assert_eq!(Config::read(Path::new("/nonexistent")), Ok(None));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let base = "sources = []\nchannel = \"stable\"\n";
        for (more, word) in [
            ("stratgy = \"manual\"\n", "stratgy"),
            ("strategy = \"whenever\"\n", "whenever"),
            ("poll_seconds = \"often\"\n", "poll_seconds"),
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
