//! What was seen of an etcd: its identity and its highest revision, kept over restarts.
//!
//! A lower revision than one that was seen is a restored backup: what was decided since is forgotten
//! there, so nobody may act on it. An operator removes the file when the backup is what shall be.

use crate::store::Revision;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The memory.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    file: Option<PathBuf>,
    /// As it is now.
    pub now: Record,
    kept: Record,
}

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// etcd's id of the cluster; 0 is none yet.
    pub cluster: u64,
    /// The highest revision.
    pub revision: Revision,
}

impl Seen {
    /// From its file; one that is not there, or is none of ours, knows nothing.
    #[must_use]
    pub fn load(file: PathBuf) -> Self {
        let text = std::fs::read(&file).unwrap_or_default();
        let now: Record = serde_json::from_slice(&text).unwrap_or_default();
        Self {
            file: Some(file),
            now,
            kept: now,
        }
    }

    /// Takes in an answer's header. `asked_at` is what was known when the request was sent: an answer
    /// that is older was given by an etcd that has lost what came between.
    ///
    /// # Errors
    /// In words, why this etcd may not be used.
    pub fn answer(&mut self, found: Record, asked_at: Revision) -> Result<(), String> {
        if self.now.cluster != 0 && self.now.cluster != found.cluster {
            return Err(self.refusal(&format!(
                "expected etcd cluster {:x}, found cluster {:x}",
                self.now.cluster, found.cluster
            )));
        }
        if found.revision < asked_at {
            return Err(self.refusal(&format!(
                "expected etcd's revision {asked_at} or later, found {}: a backup was restored",
                found.revision
            )));
        }
        let first = self.now.cluster == 0 || self.kept.cluster == 0;
        self.now.cluster = found.cluster;
        self.now.revision = self.now.revision.max(found.revision);
        if first {
            self.keep();
        }
        Ok(())
    }

    fn refusal(&mut self, what: &str) -> String {
        self.keep();
        let file = self.file.as_ref().map(|file| file.display().to_string());
        let file = file.unwrap_or_else(|| "the file of what was seen".to_owned());
        format!(
            "{what}. Nothing is changed, units run on. If this etcd is the one to follow, remove {file} and start again"
        )
    }

    /// Writes it down, if it has changed. A write that fails costs no more than the memory.
    pub fn keep(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.now != self.kept) else {
            return;
        };
        let fresh = file.with_extension("new");
        let text = serde_json::to_vec(&self.now).unwrap_or_default();
        let done = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, file));
        match done {
            Ok(()) => self.kept = self.now,
            Err(error) => eprintln!("<4>write {}: {error}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cluster: u64, revision: Revision) -> Record {
        Record { cluster, revision }
    }

    #[test]
    fn an_older_answer_stops_and_still_does_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seen.json");
        let mut seen = Seen::load(file.clone());
        seen.answer(record(7, 100), 0).unwrap();
        seen.answer(record(7, 120), 100).unwrap();
        // Another member may be behind, as long as the request was sent before the newer was seen.
        seen.answer(record(7, 110), 100).unwrap();
        let error = seen.answer(record(7, 50), 120).unwrap_err();
        assert!(
            error.contains("120") && error.contains("found 50"),
            "{error}"
        );
        let mut again = Seen::load(file.clone());
        let at = again.now.revision;
        assert!(again.answer(record(7, 60), at).is_err());
        std::fs::remove_file(&file).unwrap();
        Seen::load(file).answer(record(7, 60), 0).unwrap();
    }

    #[test]
    fn another_cluster_is_not_taken_for_this_one() {
        let mut seen = Seen::default();
        seen.answer(record(7, 1), 0).unwrap();
        assert!(
            seen.answer(record(8, 1000), 1)
                .unwrap_err()
                .contains("cluster 8")
        );
    }
}
