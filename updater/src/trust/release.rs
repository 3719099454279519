//! The channel and the release it is at, verified for one host.
//!
//! Nothing can build the two types but the functions that verify.

use formats::channel::{Channel, Rollout};
use formats::digest::{Hex, Sha256};
use formats::manifest::{File, Manifest, Role};
use formats::name::Name;
use formats::version::Version;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::keys::{by_threshold, is_ours, open};
use super::{Clock, TrustError, TrustedRoot};

/// What must be known of the host.
pub struct Host<'a> {
    /// The channel it follows.
    pub channel: &'a Name,
    /// The release that runs.
    pub running: Version,
    /// Why a release is denied, if it is.
    pub denied: &'a dyn Fn(Version) -> Option<String>,
}

/// What a host remembers of a channel between two looks, so that nothing old is shown to it again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The channel that the rest is of; on another channel it counts for nothing.
    pub channel: Option<Name>,
    /// The highest counter seen.
    pub counter: u64,
    /// SHA-256 of that document.
    pub sha256: Option<Sha256>,
}

/// A channel document that this host believes, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedChannel {
    channel: Channel,
    memory: Memory,
}

impl VerifiedChannel {
    /// Verifies a channel's file.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify(
        root: &TrustedRoot,
        file: &[u8],
        name: &Name,
        memory: &Memory,
        clock: Clock,
    ) -> Result<Self, TrustError> {
        root.is_current(clock)?;
        let (channel, envelope) = open::<Channel>(file)?;
        by_threshold(root.channel_keys(), &envelope, "channel")?;
        is_ours("channel", root.product(), &channel.product)?;
        if channel.channel != *name {
            return Err(TrustError::Channel {
                document: "channel",
                expected: name.clone(),
                found: channel.channel.to_string(),
            });
        }
        let sha256 = hash(envelope.document);
        if memory.channel.as_ref() == Some(name) {
            is_not_older(&channel, sha256, memory)?;
        }
        clock.judge("channel", channel.created, channel.expires)?;
        if channel.root > root.version() {
            return Err(TrustError::RootWithheld {
                needed: channel.root,
                found: root.version(),
            });
        }
        let memory = Memory {
            channel: Some(name.clone()),
            counter: channel.counter,
            sha256: Some(sha256),
        };
        Ok(Self { channel, memory })
    }

    /// What to remember from now on: durable before the release is acted on.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The release that the channel is at.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.channel.release.version
    }

    /// Whether the channel says stop.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.channel.frozen
    }

    /// How fast hosts may take the release.
    #[must_use]
    pub const fn rollout(&self) -> &Rollout {
        &self.channel.rollout
    }

    /// When the document was made, in seconds since the epoch: no host's clock can be before.
    #[must_use]
    pub const fn created(&self) -> u64 {
        self.channel.created
    }
}

fn is_not_older(channel: &Channel, sha256: Sha256, memory: &Memory) -> Result<(), TrustError> {
    let (seen, found) = (memory.counter, channel.counter);
    if found < seen {
        return Err(TrustError::Replayed { seen, found });
    }
    if found == seen && memory.sha256.is_some_and(|old| old != sha256) {
        return Err(TrustError::Forked { counter: found });
    }
    Ok(())
}

/// A release that this host may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRelease {
    manifest: Manifest,
    document: Sha256,
}

impl VerifiedRelease {
    /// Verifies a manifest's file.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify(
        root: &TrustedRoot,
        channel: &VerifiedChannel,
        file: &[u8],
        host: &Host,
        clock: Clock,
    ) -> Result<Self, TrustError> {
        if channel.is_frozen() {
            return Err(TrustError::Frozen);
        }
        let (manifest, envelope) = open::<Manifest>(file)?;
        by_threshold(root.release_keys(), &envelope, "release")?;
        is_ours("release", root.product(), &manifest.product)?;
        let pointer = &channel.channel.release;
        let document = hash(envelope.document);
        if document != pointer.sha256 || envelope.document.len() as u64 != pointer.length {
            return Err(TrustError::OtherManifest {
                version: pointer.version,
                expected: pointer.sha256.to_string(),
                found: document.to_string(),
            });
        }
        is_for(&manifest, host)?;
        clock.judge("release", manifest.created, manifest.expires)?;
        Ok(Self { manifest, document })
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.manifest.version
    }

    /// Of the manifest's bytes: the release's identity.
    #[must_use]
    pub const fn identity(&self) -> Sha256 {
        self.document
    }

    /// The commit that holds its pieces.
    #[must_use]
    pub const fn commit(&self) -> Sha256 {
        self.manifest.commit
    }

    /// The UKI.
    #[must_use]
    pub fn uki(&self) -> &File {
        // A manifest without one does not parse: files[0] is it.
        &self.manifest.files[0]
    }

    /// The file of a role, if it travels in this release.
    #[must_use]
    pub fn file(&self, role: Role) -> Option<&File> {
        self.manifest.file(role)
    }

    /// The loader, if it travels in this release.
    #[must_use]
    pub fn loader(&self) -> Option<&File> {
        self.manifest.file(Role::Loader)
    }
}

fn is_for(manifest: &Manifest, host: &Host) -> Result<(), TrustError> {
    let (offered, running, minimum) = (manifest.version, host.running, manifest.minimum);
    if !manifest.channels.contains(host.channel) {
        let names: Vec<_> = manifest.channels.iter().map(Name::as_str).collect();
        return Err(TrustError::Channel {
            document: "release",
            expected: host.channel.clone(),
            found: names.join(", "),
        });
    }
    if offered <= running {
        return Err(TrustError::NotNewer { offered, running });
    }
    if let Some(why) = (host.denied)(offered) {
        let version = offered;
        return Err(TrustError::Denied { version, why });
    }
    if running < minimum {
        return Err(TrustError::StepTooFar {
            running,
            offered,
            minimum,
        });
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> Sha256 {
    Hex(sha2::Sha256::digest(bytes).into())
}
