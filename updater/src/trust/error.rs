//! Every reason why a document is not believed, each by its own name.
//!
//! The texts are for the person who reads `skeg update status`.

use formats::name::Name;
use formats::signed::FormatError;
use formats::version::Version;

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It is no document of its kind.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Nobody signed it.
    #[error("{document}: nobody signed it; {needed} of {known} keys must")]
    Unsigned {
        /// Which document.
        document: &'static str,
        /// How many signatures it needs.
        needed: u32,
        /// How many keys may give one.
        known: usize,
    },
    /// Signed, by nobody that we know.
    #[error("{document}: signed by unknown keys only, e.g. {key}")]
    UnknownKeys {
        /// Which document.
        document: &'static str,
        /// The first of them.
        key: String,
    },
    /// A known key's signature is wrong: the document was altered, or never signed.
    #[error("{document}: the signature of key {key} is wrong: the document was altered")]
    BadSignature {
        /// Which document.
        document: &'static str,
        /// Whose.
        key: String,
    },
    /// Some signed, not enough.
    #[error("{document}: {found} of our keys signed it, {needed} must")]
    Threshold {
        /// Which document.
        document: &'static str,
        /// How many did.
        found: u32,
        /// How many must.
        needed: u32,
    },
    /// A root that the root before it did not sign.
    #[error("root {version}: not signed by the keys of root {before}: {source}")]
    RootNotByOld {
        /// The new root.
        version: u64,
        /// The one that is trusted.
        before: u64,
        /// What is wrong with its signatures.
        source: Box<Self>,
    },
    /// A root whose own keys did not sign it.
    #[error("root {version}: not signed by its own keys: {source}")]
    RootNotByOwn {
        /// The new root.
        version: u64,
        /// What is wrong with its signatures.
        source: Box<Self>,
    },
    /// Roots come one after the other.
    #[error("root: expected version {expected}, found {found}")]
    RootOrder {
        /// The next.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The channel was made under a root that the repository does not give us.
    #[error(
        "the channel was made under root {needed}, the repository ends at root {found}: it withholds a change of keys"
    )]
    RootWithheld {
        /// What the channel says.
        needed: u64,
        /// How far we came.
        found: u64,
    },
    /// It was good once.
    #[error(
        "{document}: expired {ago} s ago: the repository is stale, or somebody withholds a newer one"
    )]
    Expired {
        /// Which document.
        document: &'static str,
        /// Seconds since.
        ago: u64,
    },
    /// It was made in the future, by hours or more.
    #[error(
        "this machine's clock is wrong: it is {behind} s before the time when the {document} was made; set the clock"
    )]
    ClockBehind {
        /// Which document.
        document: &'static str,
        /// Seconds.
        behind: u64,
    },
    /// It expired so long ago that the clock is likelier than the repository.
    #[error(
        "this machine's clock is wrong by years, or the {document} is: it expired {ago} s ago; set the clock"
    )]
    ClockAhead {
        /// Which document.
        document: &'static str,
        /// Seconds.
        ago: u64,
    },
    /// Of another product.
    #[error("{document}: expected product {expected}, found {found}")]
    Product {
        /// Which document.
        document: &'static str,
        /// Ours.
        expected: Name,
        /// Its.
        found: Name,
    },
    /// Of another channel.
    #[error("{document}: expected channel {expected}, found {found}")]
    Channel {
        /// Which document.
        document: &'static str,
        /// Ours.
        expected: Name,
        /// Its.
        found: String,
    },
    /// A channel document that is older than one that we saw.
    #[error("channel: document {found} is older than {seen}, which this host saw: it is replayed")]
    Replayed {
        /// The highest counter that we saw.
        seen: u64,
        /// Its counter.
        found: u64,
    },
    /// Two documents with one counter.
    #[error("channel: two different documents say that they are number {counter}")]
    Forked {
        /// The counter.
        counter: u64,
    },
    /// The channel says stop.
    #[error("the channel is frozen")]
    Frozen,
    /// The manifest is not the one that the channel names.
    #[error(
        "the manifest of {version} is not the one that the channel names: expected SHA-256 {expected}, found {found}"
    )]
    OtherManifest {
        /// The release.
        version: Version,
        /// By the channel.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// What runs is newer, or the same.
    #[error("{offered} is not newer than {running}, which runs")]
    NotNewer {
        /// The release.
        offered: Version,
        /// What runs.
        running: Version,
    },
    /// One step is too far.
    #[error("{running} is too old to go to {offered} in one step: {minimum} comes first")]
    StepTooFar {
        /// What runs.
        running: Version,
        /// The release.
        offered: Version,
        /// The oldest version that may.
        minimum: Version,
    },
    /// This host tried it, or a person said no.
    #[error("{version} is denied on this host: {why}")]
    Denied {
        /// The release.
        version: Version,
        /// By whom or what.
        why: String,
    },
}
