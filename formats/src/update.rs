//! The updater's memory on STATE, and what it says on [`crate::paths::UPDATE_SOCKET`].
//!
//! On the socket (`SOCK_STREAM`) a client sends one [`Request`] as a line of JSON and reads lines of
//! [`Reply`]; the last one is any but [`Reply::Progress`].

use crate::release::Reason;
use crate::version::Version;

/// Version of both.
pub const FORMAT: u32 = 1;
/// The updater's memory, replaced durably as a whole: [`Memory`].
pub const MEMORY: &str = "/var/lib/skeg-update/state.json";
/// What the host is told of updates, below `/etc`; without it nothing is looked for.
pub const CONFIG: &str = "/etc/skeg/update.toml";
/// Files whose presence keeps the host from going down by itself; what they hold says why.
pub const INHIBIT: &str = "/run/skeg/inhibit";
/// A user's own checks, `NAME.toml` each, that must hold on a new release if they held before.
pub const CHECKS: &str = "/etc/skeg/health.d";
/// Entries of history that are kept.
pub const MOST_HISTORY: usize = 64;
/// Lines of a failed boot that an entry keeps.
pub const MOST_LINES: usize = 16;
/// None of them is longer, in bytes.
pub const LONGEST_LINE: usize = 160;
/// Entries, the newest ones, that keep such lines: an answer stays below [`MAX_LINE`].
pub const MOST_WITH_LINES: usize = 8;
/// No line is longer, in bytes.
pub const MAX_LINE: usize = 64 << 10;

/// Where an update stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "phase", rename_all = "kebab-case"))]
pub enum Phase {
    /// Nothing is under way.
    Idle,
    /// A release was found, and waits for the strategy or for a person.
    Waiting {
        /// The release.
        version: Version,
    },
    /// It is being fetched and written.
    Staging {
        /// The release.
        version: Version,
    },
    /// It lies on the ESP, and is booted next.
    Staged {
        /// The release.
        version: Version,
    },
    /// The host is going down for it.
    Rebooting {
        /// The release.
        version: Version,
    },
    /// It runs, and is being judged.
    OnTrial {
        /// The release.
        version: Version,
    },
    /// It failed; the release before it is judged by the same measure.
    Returned {
        /// The release that failed.
        version: Version,
        /// How.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// It failed, and so did the release before it: the world was broken. Tried again later.
    Inconclusive {
        /// The release.
        version: Version,
        /// How often it came to this.
        times: u32,
        /// When it is tried again, nanoseconds since the epoch.
        until_ns: u64,
    },
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// Nanoseconds since the epoch.
    pub at_ns: u64,
    /// The release that it is about.
    pub version: Version,
    /// The release that ran.
    pub running: Version,
    /// What happened.
    pub outcome: Outcome,
    /// For people.
    pub detail: String,
    /// What a failed boot said last, oldest first, at most [`MOST_LINES`].
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub lines: Vec<String>,
}

/// What happened to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Outcome {
    /// Written, and booted next.
    Staged,
    /// Could not be written.
    NotStaged,
    /// Found good.
    Good,
    /// Failed on trial; the host went back.
    RolledBack,
    /// Failed where the old release failed too.
    Inconclusive,
    /// A person took it back.
    Cancelled,
}

/// The updater's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    /// [`FORMAT`].
    pub format: u32,
    /// Where the update stands.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub phase: Phase,
    /// The boot in which that was written.
    pub boot_id: String,
    /// What was healthy before the reboot, sorted: units, `network`, and the user's checks as
    /// `check:NAME`.
    pub expected: Vec<String>,
    /// The release that a person holds the host at.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub pinned: Option<Version>,
    /// Oldest first, at most [`MOST_HISTORY`].
    pub history: Vec<Entry>,
}

impl Memory {
    /// Of a host that never was updated.
    #[must_use]
    pub fn new(boot_id: &str) -> Self {
        Self {
            format: FORMAT,
            phase: Phase::Idle,
            boot_id: boot_id.to_owned(),
            expected: Vec::new(),
            pinned: None,
            history: Vec::new(),
        }
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)
)]
pub enum Request {
    /// Where does it stand?
    Status,
    /// What happened?
    History,
    /// Look for a release now.
    Check,
    /// Stage what was found, whatever the strategy says; tells its progress.
    Apply,
    /// Boot what is staged, whatever the strategy says.
    Reboot,
    /// Deny the release that runs, and boot the one before.
    Rollback,
    /// Hold the host at a release; none: no longer.
    Pin {
        /// The release.
        #[cfg_attr(feature = "serde", serde(default))]
        version: Option<Version>,
    },
    /// Drop what was found or staged.
    Cancel,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "reply", rename_all = "kebab-case"))]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::History`].
    History {
        /// Oldest first.
        entries: Vec<Entry>,
    },
    /// How far a staging is; more lines follow.
    Progress(Progress),
    /// Done, or begun.
    Done {
        /// For people.
        text: String,
    },
    /// Not done.
    Refused {
        /// Why.
        text: String,
    },
}

/// Where the updater stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// The release that runs.
    pub running: Version,
    /// Where an update stands.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub phase: Phase,
    /// The release that a person holds the host at.
    pub pinned: Option<Version>,
    /// Names in `EFI/Linux` that are ours, in the loader's order.
    pub slots: Vec<String>,
    /// What keeps the host from going down for what is staged, if so.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub waits: Option<String>,
    /// Why updates do not work here, if so.
    pub problem: Option<String>,
}

/// How far a staging is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// Bytes of the release.
    pub total: u64,
    /// Bytes written.
    pub done: u64,
    /// Bytes that came over the wire.
    pub fetched: u64,
    /// Bytes a second, of `done`.
    pub rate: u64,
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    const V: Version = Version {
        major: 1,
        minor: 1,
        patch: 0,
    };

    #[test]
    fn golden_memory() {
        let memory = Memory {
            phase: Phase::Returned {
                version: V,
                reason: Reason::Unhealthy,
                detail: "web.service: failed".into(),
            },
            expected: vec!["web.service".into()],
            pinned: Some(V),
            history: vec![Entry {
                at_ns: 5,
                version: V,
                running: V,
                outcome: Outcome::RolledBack,
                detail: "d".into(),
                lines: vec!["kernel: up".into()],
            }],
            ..Memory::new("b")
        };
        let text = r#"{"format":1,"phase":"returned","version":"1.1.0","reason":"unhealthy","detail":"web.service: failed","boot_id":"b","expected":["web.service"],"pinned":"1.1.0","history":[{"at_ns":5,"version":"1.1.0","running":"1.1.0","outcome":"rolled-back","detail":"d","lines":["kernel: up"]}]}"#;
        assert_eq!(serde_json::to_string(&memory).unwrap(), text);
        assert_eq!(serde_json::from_str::<Memory>(text).unwrap(), memory);
        // As a release before wrote it.
        let before = text.replace(r#","lines":["kernel: up"]"#, "");
        let read = serde_json::from_str::<Memory>(&before).unwrap();
        assert!(read.history[0].lines.is_empty());
    }

    #[test]
    fn golden_lines() {
        for (request, text) in [
            (Request::Status, r#"{"ask":"status"}"#),
            (
                Request::Pin { version: Some(V) },
                r#"{"ask":"pin","version":"1.1.0"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        let progress = Progress {
            total: 4,
            done: 3,
            fetched: 2,
            rate: 1,
        };
        let status = Status {
            running: V,
            phase: Phase::Idle,
            pinned: None,
            slots: vec!["skeg_1.1.0.efi".into()],
            waits: None,
            problem: None,
        };
        for (reply, text) in [
            (
                Reply::Progress(progress),
                r#"{"reply":"progress","total":4,"done":3,"fetched":2,"rate":1}"#,
            ),
            (
                Reply::Refused { text: "no".into() },
                r#"{"reply":"refused","text":"no"}"#,
            ),
            (
                Reply::Status(status),
                r#"{"reply":"status","running":"1.1.0","phase":"idle","pinned":null,"slots":["skeg_1.1.0.efi"],"problem":null}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&reply).unwrap(), text);
            assert_eq!(serde_json::from_str::<Reply>(text).unwrap(), reply);
        }
    }
}
