//! A registry's pull side: manifests and blobs over HTTP/1.1, with tokens, redirects and ranges.
//!
//! It verifies nothing it hands out: digests and lengths are the store's to check. Small answers are
//! tried for again within [`Retry`]; a large blob is one try, since only the store knows how far it came.

mod answer;
mod challenge;
mod client;
mod connect;
mod credentials;
mod error;
mod retry;
mod transport;
mod url;

use std::path::PathBuf;
use std::time::Duration;

pub use answer::{Blob, RawManifest};
pub use client::Client;
pub use connect::Trust;
pub use credentials::{AUTH_FILE, Credentials, Login};
pub use error::RegistryError;
pub use retry::Retry;

/// What a client needs to know of the host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where credentials lie.
    pub auth_file: PathBuf,
    /// A login for one registry, before what the file says.
    pub login: Option<(String, Login)>,
    /// Where trusted certificates lie.
    pub trust: Trust,
    /// How long to wait for a connection, per address.
    pub connect: Duration,
    /// How long to wait for the next byte.
    pub stall: Duration,
    /// How often to try, and how long to wait between.
    pub retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth_file: PathBuf::from(AUTH_FILE),
            login: None,
            trust: Trust::default(),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            retry: Retry::default(),
        }
    }
}
