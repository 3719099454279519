//! What the updater keeps: its memory, the record that a boot is good, the deny records.
//!
//! Each is replaced as a whole. One that cannot be read counts as absent, but for a deny record, whose
//! name alone denies.

use formats::release::{BootOk, Denied, Reason};
use formats::update::Memory;
use formats::version::Version;
use std::io;
use std::path::{Path, PathBuf};
use sys::durable;

/// Where they lie; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Records {
    /// See [`formats::update::MEMORY`].
    pub memory: PathBuf,
    /// See [`formats::release::BOOT_OK`].
    pub boot_ok: PathBuf,
    /// See [`formats::release::DENIED`].
    pub denied: PathBuf,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            memory: formats::update::MEMORY.into(),
            boot_ok: formats::release::BOOT_OK.into(),
            denied: formats::release::DENIED.into(),
        }
    }
}

impl Records {
    /// The memory, or a new one with the reason why.
    #[must_use]
    pub fn recall(&self, boot_id: &str) -> (Memory, Option<String>) {
        let bytes = match std::fs::read(&self.memory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return (Memory::new(boot_id), None),
            Err(e) => return (Memory::new(boot_id), Some(self.told(&e))),
            Ok(bytes) => bytes,
        };
        match serde_json::from_slice::<Memory>(&bytes) {
            Ok(memory) if memory.format == formats::update::FORMAT => (memory, None),
            Ok(memory) => {
                let text = format!(
                    "format {}, expected {}",
                    memory.format,
                    formats::update::FORMAT
                );
                (Memory::new(boot_id), Some(self.told(&text)))
            }
            Err(e) => (Memory::new(boot_id), Some(self.told(&e))),
        }
    }

    fn told(&self, e: &dyn std::fmt::Display) -> String {
        format!("{}: {e}; begun anew", self.memory.display())
    }

    /// Makes the memory durable.
    ///
    /// # Errors
    /// As [`durable::write`].
    pub fn remember(&self, memory: &Memory) -> io::Result<()> {
        write(&self.memory, memory)
    }

    /// Writes the record that this boot is good.
    ///
    /// # Errors
    /// As [`durable::write`].
    pub fn boot_ok(&self, record: &BootOk) -> io::Result<()> {
        write(&self.boot_ok, record)
    }

    /// Writes a deny record.
    ///
    /// # Errors
    /// As [`durable::write`].
    pub fn deny(&self, record: &Denied) -> io::Result<()> {
        write(&self.denied.join(record.file_name()), record)
    }

    /// Takes a deny record back.
    ///
    /// # Errors
    /// As [`durable::remove`].
    pub fn allow(&self, version: Version) -> io::Result<()> {
        durable::remove(&self.denied.join(format!("{version}.json")))
    }

    /// Why a release is denied, if it is.
    #[must_use]
    pub fn why_denied(&self, version: Version) -> Option<String> {
        let path = self.denied.join(format!("{version}.json"));
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            read => read.unwrap_or_default(),
        };
        Some(match serde_json::from_slice::<Denied>(&bytes) {
            Ok(record) => told(&record),
            Err(_) => "its record cannot be read".to_owned(),
        })
    }
}

fn told(record: &Denied) -> String {
    let reason = match record.reason {
        Reason::Unhealthy => "units were not healthy on it",
        Reason::NeverJudged => "its boots ended without a judgement",
        Reason::Unloadable => "it could not be loaded",
        Reason::ByHand => "denied by hand",
    };
    format!("{reason}: {}", record.detail)
}

fn write(path: &Path, record: &impl serde::Serialize) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        durable::create_dir_all(folder)?;
    }
    durable::write(path, &serde_json::to_vec(record)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(folder: &Path) -> Records {
        Records {
            memory: folder.join("a/state.json"),
            boot_ok: folder.join("ok.json"),
            denied: folder.join("b/denied"),
        }
    }

    #[test]
    fn a_release_stays_denied_whatever_became_of_its_record() {
        let folder = tempfile::tempdir().unwrap();
        let records = records(folder.path());
        let version: Version = "1.1.0".parse().unwrap();
        assert_eq!(records.why_denied(version), None);
        let record = Denied {
            format: formats::release::FORMAT,
            version,
            reason: Reason::Unhealthy,
            detail: "web.service: failed".into(),
            boot_id: None,
            at_ns: 1,
        };
        records.deny(&record).unwrap();
        let why = records.why_denied(version).unwrap();
        assert!(why.contains("web.service: failed"), "{why}");
        std::fs::write(records.denied.join("1.1.0.json"), "{").unwrap();
        assert!(records.why_denied(version).is_some());
        records.allow(version).unwrap();
        assert_eq!(records.why_denied(version), None);
    }

    #[test]
    fn a_memory_that_is_torn_is_begun_anew_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let records = records(folder.path());
        assert_eq!(records.recall("b"), (Memory::new("b"), None));
        let mut memory = Memory::new("b");
        memory.expected = vec!["web.service".into()];
        records.remember(&memory).unwrap();
        assert_eq!(records.recall("c"), (memory, None));
        for torn in [
            "",
            "{",
            r#"{"format":2,"phase":"idle","boot_id":"","expected":[],"history":[]}"#,
        ] {
            std::fs::write(&records.memory, torn).unwrap();
            let (memory, why) = records.recall("c");
            assert_eq!(memory, Memory::new("c"));
            assert!(why.unwrap().contains("state.json"));
        }
    }
}
