//! What a user may choose about one container: the input of its default spec.
//!
//! Values only; whether they make sense is said where the spec is made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::LinuxDevice;

use super::seccomp_file;

/// What a user may choose about one container. [`Options::default`] is Docker's default container.
#[derive(Debug, Clone)]
pub struct Options {
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// `KEY=value`, laid over the image's; a bare `KEY` removes the image's variable.
    pub env: Vec<String>,
    /// Replaces the image's user: `user[:group]`, each a name or a number.
    pub user: Option<String>,
    /// Supplementary groups, by name or number.
    pub groups: Vec<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<PathBuf>,
    /// Host name in the new UTS namespace.
    pub hostname: Option<String>,
    /// The process gets a terminal of the container's own devpts.
    pub terminal: bool,
    /// The root is mounted read-only.
    pub read_only: bool,
    /// Capabilities over Docker's 14, as `CAP_NET_ADMIN`, `NET_ADMIN` or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from Docker's 14; `ALL` empties the set first.
    pub cap_drop: Vec<String>,
    /// `PR_SET_NO_NEW_PRIVS`; on by default.
    pub no_new_privileges: bool,
    /// The system calls that are let through.
    pub seccomp: Seccomp,
    /// Paths hidden over the default ones.
    pub mask: Vec<String>,
    /// Default masked and read-only paths (or some of them) left as they are; `ALL` for each.
    pub unmask: Vec<String>,
    /// Files that the engine writes for this container, bound into its `/etc`.
    pub etc: EtcFiles,
    /// Volumes and other directories or files of the host.
    pub binds: Vec<Bind>,
    /// Targets of a tmpfs and its mount options (`size=64m,mode=1777`).
    pub tmpfs: Vec<(PathBuf, String)>,
    /// Device nodes made in the container, with their access (`rwm`).
    pub devices: Vec<(LinuxDevice, String)>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits by name (`nofile` or `RLIMIT_NOFILE`).
    pub rlimits: Vec<Rlimit>,
    /// Where the network comes from.
    pub network: Namespace,
    /// Where the process ids come from.
    pub pid: Namespace,
    /// Where System V IPC and message queues come from.
    pub ipc: Namespace,
    /// Where host name and domain come from.
    pub uts: Namespace,
    /// Size of `/dev/shm` in bytes; Docker's is 64 MiB.
    pub shm_size: u64,
    /// `oom_score_adj` of the process.
    pub oom_score_adj: Option<i32>,
    /// Limits of the cgroup.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            entrypoint: None,
            command: None,
            env: Vec::new(),
            user: None,
            groups: Vec::new(),
            working_dir: None,
            hostname: None,
            terminal: false,
            read_only: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privileges: true,
            seccomp: Seccomp::Default,
            mask: Vec::new(),
            unmask: Vec::new(),
            etc: EtcFiles::default(),
            binds: Vec::new(),
            tmpfs: Vec::new(),
            devices: Vec::new(),
            sysctls: BTreeMap::new(),
            rlimits: Vec::new(),
            network: Namespace::New,
            pid: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            shm_size: 64 << 20,
            oom_score_adj: None,
            limits: Limits::default(),
        }
    }
}

/// The system calls that are let through.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Seccomp {
    /// Docker's default profile for the container's capabilities.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// This profile, with its conditions on the container's capabilities.
    Profile(Box<seccomp_file::Profile>),
}

/// Where one of the container's namespaces comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// A new one.
    #[default]
    New,
    /// The host's.
    Host,
    /// The one that this file names, e.g. `/proc/PID/ns/net`.
    Path(PathBuf),
}

/// Files of the host that take the place of the image's; each is optional.
#[derive(Debug, Clone, Default)]
pub struct EtcFiles {
    /// `/etc/hosts`
    pub hosts: Option<PathBuf>,
    /// `/etc/resolv.conf`
    pub resolv_conf: Option<PathBuf>,
    /// `/etc/hostname`
    pub hostname: Option<PathBuf>,
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host, which must exist.
    pub source: PathBuf,
    /// Absolute path in the container; made when it does not exist.
    pub target: PathBuf,
    /// Mounted read-only, with everything mounted below it.
    pub read_only: bool,
    /// Further options of mount(8), e.g. `noexec`, `rslave`.
    pub options: Vec<String>,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// `nofile` or `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Limits of the container's cgroup; `None` is unlimited.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory (`memory.max`).
    pub memory: Option<i64>,
    /// Bytes of memory and swap together, as Docker counts; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Bytes below which the memory is reclaimed last (`memory.low`).
    pub memory_reservation: Option<i64>,
    /// Billionths of a CPU (`cpu.max`).
    pub nano_cpus: Option<u64>,
    /// cgroup v1 shares, 2 to 262144; 1024 is the default weight.
    pub cpu_shares: Option<u64>,
    /// CPUs that it may use, e.g. `0-1` (`cpuset.cpus`).
    pub cpuset: Option<String>,
    /// Most processes and threads (`pids.max`).
    pub pids: Option<i64>,
}
