//! What can go wrong between here and a registry, and which of it is worth another try.

use std::time::Duration;

use super::super::registries::RegistriesError;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The name has no address.
    #[error("cannot resolve `{host}`: {message}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        message: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach {place}: {message}")]
    Transport {
        /// Host and port.
        place: String,
        /// What happened.
        message: String,
    },
    /// A connection that broke in the middle of a blob.
    #[error("{place}: ended after {got} of {expected} bytes: {message}")]
    Cut {
        /// Host and port.
        place: String,
        /// Bytes that are there.
        got: u64,
        /// Bytes in all.
        expected: u64,
        /// What happened.
        message: String,
    },
    /// Nothing came for too long.
    #[error("{place}: no answer for {} s", .after.as_secs())]
    Stalled {
        /// Host and port.
        place: String,
        /// How long we waited.
        after: Duration,
    },
    /// The certificates that come with the host cannot be used.
    #[error("certificates: {0}")]
    Certificates(String),
    /// The credentials file cannot be used.
    #[error("credentials: {0}")]
    Credentials(String),
    /// The registry does not have it.
    #[error("not found: {0}")]
    NotFound(String),
    /// The registry does not let us.
    #[error("access denied: {0}")]
    Denied(String),
    /// Any other answer that is no success.
    #[error("{place} answers {status}{message}")]
    Status {
        /// Host and port.
        place: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words, with a colon before, or nothing.
        message: String,
        /// What it says about when to come back.
        retry_after: Option<Duration>,
    },
    /// An answer that breaks the protocol.
    #[error("{place}: {message}")]
    Protocol {
        /// Host and port.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// An answer longer than may be.
    #[error("answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// The host's configuration forbids or breaks it.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
}

impl RegistryError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Transport { .. }
            | Self::Cut { .. }
            | Self::Stalled { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }

    /// When the registry wants us back.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
