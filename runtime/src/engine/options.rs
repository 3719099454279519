//! What a container is to be: the one description that the command line, the API and Quadlet units share.
//!
//! Values only: nothing here looks at an image, a file or the host. The image's own configuration is
//! merged in when the specification is made.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::network::PortMapping;

/// The whole description; what is absent takes the image's value or the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerOptions {
    /// Image reference as the user wrote it.
    pub image: String,
    /// Name; made up from the id when absent.
    pub name: Option<String>,
    /// Replaces the image's command.
    pub command: Vec<String>,
    /// Replaces the image's entry point, and drops its command.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=VALUE`, later ones win.
    pub env: Vec<String>,
    /// Files of `KEY=VALUE` lines on the host, read at each start.
    pub env_files: Vec<PathBuf>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Bind mounts and volumes.
    pub mounts: Vec<MountSpec>,
    /// Devices of the host that it may use.
    pub devices: Vec<DeviceSpec>,
    /// Fresh tmpfs mounts: path and options.
    pub tmpfs: Vec<TmpfsSpec>,
    /// Which kind of network it has.
    pub network: NetworkMode,
    /// With [`NetworkMode::Bridge`]: the networks that it joins, the default bridge when there are none.
    pub networks: Vec<NetworkJoin>,
    /// `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Paths hidden over the default ones.
    pub mask: Vec<String>,
    /// Default masks left out, or `ALL`.
    pub unmask: Vec<String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// The root is read-only.
    pub read_only: bool,
    /// With a read-only root: fresh tmpfs on /tmp, /run and /var/tmp.
    pub read_only_tmpfs: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Capabilities added, without `CAP_`, upper case, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, the same way.
    pub cap_drop: Vec<String>,
    /// Sets `no_new_privs`; on when absent.
    pub no_new_privileges: Option<bool>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Host name; the short id when absent.
    pub hostname: Option<String>,
    /// Resolvers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Extra lines of /etc/hosts: name and address.
    pub add_hosts: Vec<(String, HostAddress)>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Namespaced sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// Most processes; 0 is without a limit, 2048 when absent.
    pub pids_limit: Option<u64>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Processor time in thousandths of a processor.
    pub milli_cpus: Option<u64>,
    /// Bytes of memory and swap together; -1 is without a limit of swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Bytes below which its memory is reclaimed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u64>,
    /// Weight against other containers, 2 to 262144; 1024 is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Processors that it may use, e.g. `0-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// How soon the kernel ends it for want of memory, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<i32>,
    /// Seconds between that signal and the kill.
    pub stop_timeout: Option<u64>,
    /// When the image is fetched.
    pub pull: PullPolicy,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Least delay before a restart, in milliseconds.
    pub restart_delay_ms: Option<u64>,
    /// It has a terminal.
    pub tty: bool,
    /// Its standard input stays open for a client.
    pub stdin: bool,
    /// It is removed when it has exited.
    pub auto_remove: bool,
    /// The Quadlet unit that it belongs to, e.g. `web.service`.
    pub unit: Option<String>,
    /// How it is known to be ready; with its start when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// Secrets of the host that it gets as files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSpec>,
    /// How its health is checked; what is absent is the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

/// One secret of the host, by its name: what is in it is never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// A file in [`formats::paths::SECRETS`].
    pub name: String,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Its owner there.
    pub uid: u32,
    /// Its group there.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// When a container counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// What tells it.
    pub by: ReadyBy,
    /// From its process's start; one that is late is stopped. For ever when absent.
    pub timeout_ms: Option<u64>,
}

/// What tells that a container is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyBy {
    /// A process in it, on `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// Its health check passes.
    Healthy,
}

/// A health check; what is absent takes the image's value, then the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// What is run. Empty switches the image's check off.
    pub test: Option<Vec<String>>,
    /// The words are one line for the shell.
    pub shell: bool,
    /// Between the end of one check and the next; [`NEVER`] checks never.
    pub interval_ms: Option<u64>,
    /// A check that takes longer is killed, and has failed.
    pub timeout_ms: Option<u64>,
    /// From the start, while failures do not count.
    pub start_period_ms: Option<u64>,
    /// Between checks in that time, until one has passed.
    pub start_interval_ms: Option<u64>,
    /// As many failures in a row make it unhealthy.
    pub retries: Option<u32>,
    /// The first check is made at once, as with podman.
    pub at_once: bool,
    /// What becomes of a container that is unhealthy.
    pub on_failure: OnFailure,
    /// Checked with before the check itself.
    pub startup: Option<StartupCheck>,
    /// Results that are kept; 5 when absent, 0 is without a limit.
    pub log_count: Option<u32>,
    /// Bytes of output that are kept of each; 4096 when absent.
    pub log_size: Option<u32>,
}

/// An interval that never ends.
pub const NEVER: u64 = u64::MAX;

/// A check that has to pass before the check itself begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartupCheck {
    /// What is run.
    pub test: Vec<String>,
    /// The words are one line for the shell.
    pub shell: bool,
    /// As with the check itself.
    pub interval_ms: Option<u64>,
    /// As with the check itself.
    pub timeout_ms: Option<u64>,
    /// As many failures in all end the container; 0 is without a limit.
    pub retries: u32,
    /// Passes in a row that are needed; 0 is one.
    pub success: u32,
}

/// What becomes of a container that is unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is told, and nothing else.
    #[default]
    None,
    /// It is killed; whether it comes back is its restart policy's matter.
    Kill,
    /// It is stopped in order, and comes back whatever its policy.
    Restart,
    /// It is stopped in order; whether it comes back is its restart policy's matter.
    Stop,
}

/// One bind mount or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    /// Where it comes from.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Not writable.
    pub read_only: bool,
    /// An empty named volume is not filled from the image.
    pub no_copy: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A path of the host.
    Bind(PathBuf),
    /// A volume that is kept.
    Volume(String),
    /// A volume that goes with the container.
    Anonymous,
}

/// One device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// The node on the host.
    pub host: PathBuf,
    /// Absolute path in the container.
    pub container: PathBuf,
    /// Some of `r`, `w` and `m`, as the cgroup's rules write it.
    pub access: String,
    /// A host that lacks it starts the container without.
    pub optional: bool,
}

/// One tmpfs mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TmpfsSpec {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Mount options as given, e.g. `size=64m`.
    pub options: Vec<String>,
}

/// A network that a container joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkJoin {
    /// Its name or the beginning of its id; the whole id once the container has been created.
    pub network: String,
    /// What the container is called there besides its own name.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ip: Option<Ipv4Addr>,
}

/// The address of a line of /etc/hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HostAddress {
    /// As written.
    Ip(IpAddr),
    /// `host-gateway`: where the container reaches the host.
    Gateway,
}

impl std::str::FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host-gateway" {
            return Ok(Self::Gateway);
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let refused = |_| format!("expected an IP address or host-gateway, found '{text}'");
        bare.parse().map(Self::Ip).map_err(refused)
    }
}

impl TryFrom<String> for HostAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostAddress> for String {
    fn from(address: HostAddress) -> String {
        match address {
            HostAddress::Ip(ip) => ip.to_string(),
            HostAddress::Gateway => "host-gateway".into(),
        }
    }
}

/// Which kind of network a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The engine's bridges, with NAT.
    #[default]
    Bridge,
    /// The host's own network namespace.
    Host,
    /// A namespace with a loopback link only.
    None,
}

/// System call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile of the host, in Docker's format.
    File(PathBuf),
}

/// One resource limit (setrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// When the store lacks it.
    #[default]
    Missing,
    /// At each start; the stored one serves when the registry cannot be reached.
    Newer,
    /// At each start.
    Always,
    /// Never.
    Never,
}

/// When a container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After an exit with a status other than 0, at most `max` times in a row.
    OnFailure {
        /// No limit when absent.
        max: Option<u32>,
    },
    /// After each exit, and at boot.
    Always,
    /// As `Always`, unless a user stopped it.
    UnlessStopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused_at_every_depth() {
        let read = |text: &str| serde_json::from_str::<ContainerOptions>(text);
        let mount = r#"{"source":"anonymous","target":"/a","read_only":false,"no_copy":false"#;
        assert!(read(&format!(r#"{{"mounts":[{mount}}}]}}"#)).is_ok());
        assert!(read(&format!(r#"{{"mounts":[{mount},"readonly":true}}]}}"#)).is_err());
        assert!(read(r#"{"tmpfs":[{"target":"/t","options":[],"size":1}]}"#).is_err());
        assert!(read(r#"{"privileged":true}"#).is_err());
        assert!(read(r#"{"stop_timeout":-1}"#).is_err());
    }
}
