//! The verbs and their flags.
//!
//! Values are read here by the engine's own readers, so that a mistake is told before anything is
//! asked of the engine.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::engine::options::{
    HostAddress, MountSpec, PullPolicy, RestartPolicy, TmpfsSpec, Ulimit,
};
use crate::engine::values;
use crate::network::PortMapping;

/// Runs containers on this host, and tells how the host is.
#[derive(Debug, Parser)]
#[command(
    name = "skeg",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a container and start it
    Run(Box<Run>),
    /// List containers
    Ps(Ps),
    /// Show what a container or the host has written, also in earlier boots
    Logs(Logs),
    /// Run a command in a running container
    Exec(Exec),
    /// Start stopped containers
    Start(Names),
    /// Stop containers: their signal first, a kill after the timeout
    Stop(Stop),
    /// Stop containers and start them again
    Restart(Stop),
    /// Send a signal to containers
    Kill(Kill),
    /// Remove containers
    Rm(Rm),
    /// Wait until containers have ended and print their exit codes
    Wait(Names),
    /// Show everything about containers, as JSON
    Inspect(Names),
    /// Fetch an image
    Pull(Pull),
    /// List images
    Images(Images),
    /// Remove images
    Rmi(Names),
    /// List or remove volumes
    #[command(subcommand)]
    Volume(Volume),
    /// Show services, units, containers and what is degraded
    Status(Status),
    /// Show how long each stage of the boot took
    Boot(Boot),
    /// Check unit files without an engine
    #[command(subcommand)]
    Unit(Unit),
    /// Stop everything in order and switch the machine off
    Poweroff,
    /// Stop everything in order and restart the machine
    Reboot,
    /// Check, show and apply the host's configuration
    #[command(disable_help_flag = true)]
    Config {
        /// Verb of `skeg config`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        verb: Vec<String>,
    },
    /// Update this host, and see how that goes
    #[command(disable_help_flag = true)]
    Update {
        /// Verb of `skeg update`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        verb: Vec<String>,
    },
    /// Show the versions of the program and the engine
    Version(Format),
    /// The OCI runtime, for other engines (skeg oci --help)
    #[command(disable_help_flag = true)]
    Oci,
    #[command(hide = true, about = "The engine daemon")]
    Engine,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Leave it in the background and print its id
    #[arg(short, long)]
    pub detach: bool,
    /// Remove it when it has ended
    #[arg(long)]
    pub rm: bool,
    /// Name of the container
    #[arg(long, value_parser = values::volume_name)]
    pub name: Option<String>,
    /// Environment: KEY=VALUE, or KEY to hand on its value here
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Read environment from a file of KEY=VALUE lines
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Publish a port: [[ADDRESS:]HOST:]CONTAINER[/udp]
    #[arg(short, long, value_name = "PORT", value_parser = ports)]
    pub publish: Vec<Ports>,
    /// Mount a volume or a path: [SOURCE:]TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME", value_parser = values::volume)]
    pub volume: Vec<MountSpec>,
    /// Mount an empty tmpfs: PATH[:OPTIONS]
    #[arg(long, value_name = "PATH", value_parser = values::tmpfs)]
    pub tmpfs: Vec<TmpfsSpec>,
    /// Working directory
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<PathBuf>,
    /// User: NAME|UID[:GROUP|GID]
    #[arg(short, long)]
    pub user: Option<String>,
    /// Host name
    #[arg(long)]
    pub hostname: Option<String>,
    /// Extra line of /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = values::host_entry)]
    pub add_host: Vec<(String, HostAddress)>,
    /// Resolver instead of the host's
    #[arg(long, value_name = "ADDRESS", value_parser = values::ip)]
    pub dns: Vec<std::net::IpAddr>,
    /// When it starts again: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = values::restart, default_value = "no", hide_default_value = true)]
    pub restart: RestartPolicy,
    /// bridge, host, none, or a network's name
    #[arg(long, value_name = "MODE", value_parser = values::network, default_value = "bridge", hide_default_value = true)]
    pub network: values::NetworkChoice,
    /// Make the root read-only
    #[arg(long)]
    pub read_only: bool,
    /// Memory limit, e.g. 64m
    #[arg(short, long, value_name = "SIZE", value_parser = values::size)]
    pub memory: Option<u64>,
    /// Processors, e.g. 0.5
    #[arg(long, value_name = "NUMBER", value_parser = values::cpus)]
    pub cpus: Option<u64>,
    /// Most processes, 0 for no limit; 2048 by default
    #[arg(long, value_name = "NUMBER")]
    pub pids_limit: Option<u64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub shm_size: Option<u64>,
    /// Resource limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT", value_parser = values::ulimit)]
    pub ulimit: Vec<Ulimit>,
    /// Kernel parameter of its namespaces: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub sysctl: Vec<(String, String)>,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY", value_parser = values::capability)]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = values::capability)]
    pub cap_drop: Vec<String>,
    /// no-new-privileges, or seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Label: KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::pair)]
    pub label: Vec<(String, String)>,
    /// Hand standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Program instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal)]
    pub stop_signal: Option<i32>,
    /// Seconds between that signal and the kill
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u64>,
    /// missing, newer, always or never
    #[arg(long, value_name = "WHEN", value_parser = values::pull, default_value = "missing", hide_default_value = true)]
    pub pull: PullPolicy,
    /// Say nothing while the image is fetched
    #[arg(short, long)]
    pub quiet: bool,
    /// Image
    pub image: String,
    /// Command instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// The ports of one `-p`, which may be a range.
#[derive(Debug, Clone)]
pub struct Ports(pub Vec<PortMapping>);

fn ports(text: &str) -> Result<Ports, String> {
    values::ports(text).map(Ports)
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Show those that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct Format {
    /// json instead of text
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], default_value = "text", hide_default_value = true, hide_possible_values = true)]
    pub format: String,
}

impl Format {
    pub fn json(&self) -> bool {
        self.format == "json"
    }
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Last lines only
    #[arg(long, visible_alias = "lines", value_name = "NUMBER", value_parser = tail)]
    pub tail: Option<u64>,
    /// Lines since then: 10m, 2h, or seconds since the epoch
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show each line's time
    #[arg(short, long)]
    pub timestamps: bool,
    /// The host's own log of a boot: 0 or nothing for this one, -1 for the one before, or its id
    #[arg(short, long, value_name = "BOOT", num_args = 0..=1, default_missing_value = "0", allow_negative_numbers = true)]
    pub boot: Option<String>,
    /// The kernel's lines only
    #[arg(short, long)]
    pub kernel: bool,
    /// Lines of a service of the host only: init, engine, net, zygote
    #[arg(short, long, value_name = "SERVICE", conflicts_with = "kernel")]
    pub unit: Option<String>,
    /// List the boots whose log is kept
    #[arg(long, exclusive = true)]
    pub list_boots: bool,
    /// Container, unit, or service of the host
    #[arg(required_unless_present_any = ["boot", "kernel", "unit", "list_boots"], conflicts_with_all = ["kernel", "unit"])]
    pub container: Option<String>,
}

impl Logs {
    /// Whether the host's own log is meant, and no container's.
    pub fn of_host(&self) -> bool {
        self.boot.is_some() || self.kernel || self.unit.is_some() || self.list_boots
    }
}

fn tail(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(u64::MAX),
        number => number
            .parse()
            .map_err(|_| format!("expected a number or all, found '{number}'")),
    }
}

#[derive(Debug, Args)]
pub struct Exec {
    /// Hand standard input on
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Do not wait for it
    #[arg(short, long)]
    pub detach: bool,
    /// Environment: KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair_text)]
    pub env: Vec<String>,
    /// User: NAME|UID[:GROUP|GID]
    #[arg(short, long)]
    pub user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// Container
    pub container: String,
    /// Command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<String>,
}

fn pair_text(text: &str) -> Result<String, String> {
    values::pair(text).map(|_| text.to_string())
}

#[derive(Debug, Args)]
pub struct Names {
    /// Names or ids
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Stop {
    /// Seconds before the kill
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    pub time: Option<u64>,
    /// Containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Kill {
    /// Signal
    #[arg(short, long, value_parser = values::signal, default_value = "KILL")]
    pub signal: i32,
    /// Containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// Kill them first if they run
    #[arg(short, long)]
    pub force: bool,
    /// Containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Pull {
    /// Print the id only
    #[arg(short, long)]
    pub quiet: bool,
    /// Image
    pub image: String,
}

#[derive(Debug, Args)]
pub struct Images {
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum Volume {
    /// List volumes
    Ls(Images),
    /// Remove volumes that no container uses
    Rm(Names),
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct Boot {
    /// Draw it into this file, or - for standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub svg: Option<PathBuf>,
    /// Print the timeline as it is
    #[arg(long)]
    pub json: bool,
    /// Another machine's timeline
    #[arg(long, value_name = "FILE", default_value = formats::paths::BOOT_TIMELINE, hide_default_value = true)]
    pub from: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Unit {
    /// Say what is wrong with Quadlet files: line, key, nearest known key
    Check {
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}
