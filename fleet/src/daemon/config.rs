//! `fleet.toml`: how etcd is reached, what this machine is, where the API listens.
//!
//! An unknown key is an error: a typing mistake is no default.

use crate::etcd;
use crate::plan::Patience;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// etcd.
    pub etcd: etcd::Config,
    /// Seconds that a machine's lease lives.
    #[serde(default = "ttl")]
    pub ttl_seconds: u64,
    /// Where it remembers what it saw of etcd.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// The agent's.
    #[serde(default)]
    pub agent: AgentConfig,
    /// The API's.
    #[serde(default)]
    pub api: ApiConfig,
}

/// `[agent]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Where systemd, or Skeg's engine, is spoken with.
    pub systemd1: String,
    /// What the machine is.
    pub machine_id: PathBuf,
    /// What its operator says of it.
    pub metadata: BTreeMap<String, String>,
    /// Thousandths of processors for units; 0 is not counted.
    pub cpu_milli: u64,
    /// Bytes of memory for units; 0 is not counted.
    pub memory: u64,
    /// Folder for plain unit files.
    pub units: PathBuf,
    /// Folder for Quadlet's.
    pub quadlets: PathBuf,
    /// Folder for copies of both.
    pub own: PathBuf,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            systemd1: "/run/systemd/private".to_owned(),
            machine_id: "/etc/machine-id".into(),
            metadata: BTreeMap::new(),
            cpu_milli: 0,
            memory: 0,
            units: "/run/systemd/system".into(),
            quadlets: "/run/containers/systemd".into(),
            own: "/run/skeg/fleet/units".into(),
        }
    }
}

/// `[api]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// A socket for root, who may do everything; none if empty.
    pub socket: PathBuf,
    /// Address and port for others, who need a token.
    pub listen: Option<String>,
    /// Address and port for the fleet_lock protocol alone, whose clients have no tokens: whoever reaches
    /// it can take and give back slots to reboot, and nothing else.
    pub reboots: Option<String>,
    /// File of tokens: lines of `ROLE SHA256 NAME`.
    pub tokens: Option<PathBuf>,
    /// Certificate for `listen`, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Clients need a certificate that is signed by one of these, PEM.
    pub client_ca: Option<PathBuf>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            socket: "/run/skeg/fleet.sock".into(),
            listen: None,
            reboots: None,
            tokens: None,
            cert: None,
            key: None,
            client_ca: None,
        }
    }
}

fn ttl() -> u64 {
    10
}

fn state() -> PathBuf {
    "/var/lib/skeg/fleet".into()
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// In words, with file and line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| format!("read {}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Waiting times that follow from the lease's.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let ttl = Duration::from_secs(self.ttl_seconds.max(2));
        Patience {
            ttl,
            kill: Duration::from_secs(10),
            grace: ttl / 2,
        }
    }

    /// What was seen of etcd, by the daemon of this name.
    #[must_use]
    pub fn seen(&self, daemon: &str) -> etcd::Seen {
        if let Err(error) = std::fs::create_dir_all(&self.state) {
            eprintln!("<4>make {}: {error}", self.state.display());
        }
        etcd::Seen::load(self.state.join(format!("{daemon}-seen.json")))
    }
}
