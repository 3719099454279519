//! How etcd is reached: members, prefix, TLS files, user.
//!
//! Passwords are read from a file, never from an argument; nothing here connects.

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `fleet.toml`'s `[etcd]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Members, like `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Certificates that the members' are signed by, PEM.
    pub ca: Option<PathBuf>,
    /// This client's certificate, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Its name in etcd.
    pub user: Option<String>,
    /// File with its password.
    pub password: Option<PathBuf>,
}

fn prefix() -> String {
    "/skeg/fleet/".to_owned()
}

/// Why etcd cannot be reached this way.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// Nobody to ask.
    #[error("expected at least one etcd endpoint like http://10.0.0.1:2379, found none")]
    NoEndpoint,
    /// No prefix of ours.
    #[error("expected a prefix of etcd's keys that ends with a slash, found {0:?}")]
    Prefix(String),
    /// Files that belong together.
    #[error("expected cert and key, or neither: only one of them is given")]
    HalfIdentity,
    /// A file.
    #[error("read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Config {
    /// These members, nothing else.
    #[must_use]
    pub fn plain(endpoints: &[String]) -> Self {
        Self {
            endpoints: endpoints.to_vec(),
            prefix: prefix(),
            ca: None,
            cert: None,
            key: None,
            user: None,
            password: None,
        }
    }

    /// Checks, reads the files.
    pub(super) fn options(&self) -> Result<ConnectOptions, BadConfig> {
        if self.endpoints.is_empty() {
            return Err(BadConfig::NoEndpoint);
        }
        if !self.prefix.ends_with('/') {
            return Err(BadConfig::Prefix(self.prefix.clone()));
        }
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(3))
            .with_require_leader(true);
        if let Some(tls) = self.tls()? {
            options = options.with_tls(tls);
        }
        if let (Some(user), Some(path)) = (&self.user, &self.password) {
            let password = String::from_utf8_lossy(&read(path)?).trim_end().to_owned();
            options = options.with_user(user, password);
        }
        Ok(options)
    }

    fn tls(&self) -> Result<Option<TlsOptions>, BadConfig> {
        if self.ca.is_none() && self.cert.is_none() && self.key.is_none() {
            return Ok(None);
        }
        let mut tls = TlsOptions::new();
        if let Some(path) = &self.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            (None, None) => {}
            _ => return Err(BadConfig::HalfIdentity),
        }
        Ok(Some(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadConfig> {
    std::fs::read(path).map_err(|source| BadConfig::File {
        path: path.to_owned(),
        source,
    })
}
