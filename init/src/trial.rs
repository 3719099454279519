//! A boot on trial: the loader took one of its tries, so somebody must find it good in time.
//!
//! It judges nothing: the updater does, and leaves a record. Without one the host is rebooted, and the
//! loader counts on.

use crate::clock::Moment;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the loader says that it counted (systemd's Boot Loader Interface).
pub const COUNTED: &str =
    "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The kernel's name for this boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How long a trial may last; `skeg.trial=SECONDS` on the kernel's command line says otherwise.
const PATIENCE: Duration = Duration::from_secs(600);
/// No record is longer, in bytes.
const MOST: u64 = 64 << 10;

/// A trial that goes on.
#[derive(Debug)]
pub struct Trial {
    deadline: Moment,
    record: PathBuf,
    boot_id: String,
}

/// What a trial's deadline brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was found good.
    Good,
    /// Nobody has found it good.
    Unjudged,
}

impl Trial {
    /// The trial of this boot, if it is one: `counted` is a variable of the loader, `record` what the
    /// updater will write.
    #[must_use]
    pub fn of_boot(
        counted: &Path,
        record: &Path,
        command_line: &str,
        boot_id: &str,
    ) -> Option<Self> {
        counted.exists().then(|| Self {
            deadline: patience(command_line),
            record: record.to_owned(),
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// When the verdict is due, since the kernel started.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// The verdict, once it is due.
    #[must_use]
    pub fn verdict(&self, now: Moment) -> Option<Verdict> {
        let due = now >= self.deadline;
        due.then(|| match self.found_good() {
            true => Verdict::Good,
            false => Verdict::Unjudged,
        })
    }

    /// A record of another boot is void.
    fn found_good(&self) -> bool {
        let short = fs::metadata(&self.record).is_ok_and(|m| m.len() <= MOST);
        let text = match short {
            true => fs::read_to_string(&self.record).unwrap_or_default(),
            false => String::new(),
        };
        !self.boot_id.is_empty() && text.contains(&format!("\"boot_id\":\"{}\"", self.boot_id))
    }
}

fn patience(command_line: &str) -> Duration {
    let mut words = command_line.split_whitespace();
    let seconds = words.find_map(|word| word.strip_prefix("skeg.trial=")?.parse().ok());
    seconds.map_or(PATIENCE, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(folder: &Path, command_line: &str) -> Option<Trial> {
        Trial::of_boot(
            &folder.join("counted"),
            &folder.join("ok"),
            command_line,
            "b1\n",
        )
    }

    #[test]
    fn a_boot_that_was_not_counted_is_never_rebooted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(trial(folder.path(), "").is_none());
    }

    #[test]
    fn a_trial_is_good_only_by_a_record_of_this_very_boot() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("counted"), "x").unwrap();
        let trial = trial(folder.path(), "quiet skeg.trial=60").unwrap();
        let (early, due) = (Duration::from_secs(59), Duration::from_secs(60));
        assert_eq!(trial.deadline(), due);
        assert_eq!(trial.verdict(early), None);
        assert_eq!(trial.verdict(due), Some(Verdict::Unjudged));
        let record = folder.path().join("ok");
        fs::write(&record, r#"{"format":1,"version":"1.4.0","boot_id":"b0"}"#).unwrap();
        assert_eq!(trial.verdict(due), Some(Verdict::Unjudged));
        fs::write(&record, r#"{"format":1,"version":"1.4.0","boot_id":"b1"}"#).unwrap();
        assert_eq!(trial.verdict(due), Some(Verdict::Good));
    }

    #[test]
    fn a_command_line_that_means_nothing_leaves_the_usual_patience() {
        assert_eq!(patience("skeg.trial=soon"), PATIENCE);
        assert_eq!(
            patience("skeg.trial=soon skeg.trial=5"),
            Duration::from_secs(5)
        );
    }
}
