//! What is remembered of releases: the record that a boot is good, and the record that a release is
//! denied.
//!
//! Both are JSON files. Their presence decides, their content explains: a torn or unreadable deny
//! record still denies the version in its name.

use crate::version::Version;

/// Version of both records.
pub const FORMAT: u32 = 1;
/// Written by the updater once the workloads are healthy on a release that is on trial. PID 1
/// watches for it: a trial without it ends at its deadline with a reboot.
pub const BOOT_OK: &str = "/run/skeg/update/boot-ok.json";
/// Deny records, `<version>.json` each, written durably before the trial's entry is renamed.
pub const DENIED: &str = "/var/lib/skeg-update/denied";

/// This boot is good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BootOk {
    /// [`FORMAT`].
    pub format: u32,
    /// The release that runs.
    pub version: Version,
    /// `/proc/sys/kernel/random/boot_id`. A record of another boot is void.
    pub boot_id: String,
    /// When it was judged, in nanoseconds since the epoch.
    pub at_ns: u64,
    /// The units that had to be healthy and were, sorted; empty: the built-in probe passed.
    pub healthy: Vec<String>,
}

/// This release is never tried again, unless a person says so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Denied {
    /// [`FORMAT`].
    pub format: u32,
    /// The release.
    pub version: Version,
    /// Why.
    pub reason: Reason,
    /// One line for people, e.g. `web.service: exited 1 five times`.
    pub detail: String,
    /// The boot that failed, if it came far enough to have an id.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub boot_id: Option<String>,
    /// When it was denied, in nanoseconds since the epoch.
    pub at_ns: u64,
}

impl Denied {
    /// The record's file name in [`DENIED`].
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.json", self.version)
    }
}

/// Why a release is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Reason {
    /// Units that were healthy before were not healthy on it, and are again without it.
    Unhealthy,
    /// Its boots ended without a judgement: panic, hang or reset.
    NeverJudged,
    /// The loader could not load it.
    Unloadable,
    /// A person denied it.
    ByHand,
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    const VERSION: Version = Version {
        major: 1,
        minor: 4,
        patch: 0,
    };

    #[test]
    fn golden_boot_ok() {
        let record = BootOk {
            format: FORMAT,
            version: VERSION,
            boot_id: "b".into(),
            at_ns: 5,
            healthy: vec!["web.service".into()],
        };
        let text =
            r#"{"format":1,"version":"1.4.0","boot_id":"b","at_ns":5,"healthy":["web.service"]}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(serde_json::from_str::<BootOk>(text).unwrap(), record);
    }

    #[test]
    fn golden_denied() {
        let record = Denied {
            format: FORMAT,
            version: VERSION,
            reason: Reason::NeverJudged,
            detail: "kernel panic".into(),
            boot_id: None,
            at_ns: 5,
        };
        let text = r#"{"format":1,"version":"1.4.0","reason":"never-judged","detail":"kernel panic","at_ns":5}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(serde_json::from_str::<Denied>(text).unwrap(), record);
        assert_eq!(record.file_name(), "1.4.0.json");
    }
}
