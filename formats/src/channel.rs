//! The channel: which release it is at, how fast hosts may take it, and whether they may at all.
//!
//! Signed by a key that is online and renewed often: it expires soon, and its counter only grows, so
//! neither a pointer nor a freeze can be replayed. Never says what a release holds.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::name::Name;
use crate::signed::{Document, FormatError};
use crate::version::Version;

/// Points that a curve may have.
const MAX_POINTS: usize = 64;
/// The whole of all hosts, in the unit of [`Rollout::share`].
pub const WHOLE: u32 = 1_000_000;

/// A channel at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// [`Document::KIND`].
    pub document: String,
    /// Whose releases.
    pub product: Name,
    /// Its name.
    pub channel: Name,
    /// Grows with each document of this channel.
    pub counter: u64,
    /// Seconds since the epoch.
    pub created: u64,
    /// Seconds since the epoch: void from then on.
    pub expires: u64,
    /// The root that it was made under: a host that knows an older one was kept from the newer.
    pub root: u64,
    /// No host takes a release from it.
    pub frozen: bool,
    /// The release it is at.
    pub release: Pointer,
    /// How fast hosts may take it.
    pub rollout: Rollout,
}

/// A release's manifest, named by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// Its version.
    pub version: Version,
    /// Bytes of the manifest, without signatures.
    pub length: u64,
    /// Of those bytes.
    pub sha256: Sha256,
}

/// Which share of hosts may take a release at which time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Seconds since the epoch; before it, none may.
    pub start: u64,
    /// Seconds after the start, and the share of hosts then, in millionths; straight between two
    /// points, level after the last. Empty: all hosts from the start on.
    pub curve: Vec<(u64, u32)>,
}

impl Rollout {
    /// The share of hosts that may take the release at `now` (seconds since the epoch), in millionths.
    #[must_use]
    pub fn share(&self, now: u64) -> u32 {
        let Some(since) = now.checked_sub(self.start) else {
            return 0;
        };
        let mut before = (0, 0);
        for &(at, share) in &self.curve {
            if since < at {
                let (from, low) = before;
                let rise = u128::from(share - low) * u128::from(since - from);
                return low + u32::try_from(rise / u128::from(at - from)).unwrap_or(0);
            }
            before = (at, share);
        }
        if self.curve.is_empty() {
            WHOLE
        } else {
            before.1
        }
    }
}

impl Document for Channel {
    const KIND: &'static str = "skeg-channel-1";
    const LIMIT: usize = 16 << 10;

    fn document(&self) -> &str {
        &self.document
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.document != Self::KIND {
            return Self::wrong("document", Self::KIND);
        }
        if self.expires <= self.created {
            return Self::wrong("expires", "expected a time after `created`");
        }
        let curve = &self.rollout.curve;
        let rises = |pair: &[(u64, u32)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        if curve.len() > MAX_POINTS || !curve.windows(2).all(rises) {
            return Self::wrong(
                "curve",
                "expected at most 64 points whose times and shares rise",
            );
        }
        if curve.last().is_some_and(|(_, share)| *share > WHOLE) {
            return Self::wrong("curve", "expected shares of at most 1000000");
        }
        Ok(())
    }
}
