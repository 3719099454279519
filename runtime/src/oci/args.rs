//! The arguments, named as crun and runc name them.
//!
//! Options that choose what this runtime does not have a choice in are taken and passed over.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An OCI runtime.
#[derive(Debug, Parser)]
#[command(name = "skeg-oci", version, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Options before the command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Directory of the containers' state
    #[arg(long)]
    pub(super) root: Option<PathBuf>,
    /// Where errors are written over and above standard error: a file, or file:PATH
    #[arg(long)]
    pub(super) log: Option<String>,
    /// How they are written there
    #[arg(long, value_enum, default_value = "text")]
    pub(super) log_format: Format,
    /// Least important message that is written
    #[arg(long)]
    pub(super) log_level: Option<String>,
    /// cgroups are asked of systemd
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Who makes cgroups: cgroupfs, systemd or disabled
    #[arg(long)]
    pub(super) cgroup_manager: Option<String>,
    /// Taken for others' sake: it is found out
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub(super) rootless: Option<String>,
    /// Taken for others' sake
    #[arg(long)]
    pub(super) debug: bool,
    /// Taken for others' sake: there is no CRIU
    #[arg(long, hide = true)]
    pub(super) criu: Option<String>,
}

/// How messages and lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a container that waits for its start
    Create(Create),
    /// Start what was created
    Start { id: String },
    /// Create, start, and unless detached wait and delete
    Run(Create),
    /// Print the state of a container as JSON
    State { id: String },
    /// Send a signal to a container
    Kill(Kill),
    /// Remove a container that has stopped
    Delete(Delete),
    /// Run another program in a container
    Exec(Exec),
    /// Processes of a container
    Ps(Ps),
    /// Containers
    List(List),
    /// Freeze all processes of a container
    Pause { id: String },
    /// Thaw them
    Resume { id: String },
    /// Change the limits of a container
    Update(Update),
    /// Figures of a container, and out-of-memory events
    Events(Events),
    /// What this build and this kernel can do, as JSON
    Features,
    /// Write a specification to start from
    Spec(Template),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Directory of the bundle
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
    /// The configuration, relative to the bundle
    #[arg(short = 'f', long, default_value = "config.json")]
    pub(super) config: PathBuf,
    /// Socket that is sent the terminal's master
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    /// Descriptors after the standard ones that the container gets
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// MS_MOVE and chroot instead of pivot_root
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Do not wait for the end (run)
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Keep the container after its end (run)
    #[arg(long)]
    pub(super) keep: bool,
    /// Taken for others' sake
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// To all its processes
    #[arg(short, long)]
    pub(super) all: bool,
    /// To those whose ids match
    #[arg(short, long)]
    pub(super) regex: bool,
    pub(super) id: String,
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it first, and do not mind when there is none
    #[arg(short, long)]
    pub(super) force: bool,
    /// Those whose ids match
    #[arg(short, long)]
    pub(super) regex: bool,
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// A file with the specification of the process
    #[arg(short, long)]
    pub(super) process: Option<PathBuf>,
    #[arg(long)]
    pub(super) cwd: Option<PathBuf>,
    /// KEY=value
    #[arg(short, long)]
    pub(super) env: Vec<String>,
    #[arg(short, long)]
    pub(super) tty: bool,
    /// UID[:GID]
    #[arg(short, long)]
    pub(super) user: Option<String>,
    /// A supplementary group
    #[arg(short = 'g', long)]
    pub(super) additional_gids: Vec<u32>,
    #[arg(short, long)]
    pub(super) detach: bool,
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    #[arg(long)]
    pub(super) process_label: Option<String>,
    #[arg(long)]
    pub(super) apparmor: Option<String>,
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// A capability over those of the container
    #[arg(short, long)]
    pub(super) cap: Vec<String>,
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// A cgroup below the container's
    #[arg(long)]
    pub(super) cgroup: Option<String>,
    /// Into a container that is paused, too
    #[arg(long)]
    pub(super) ignore_paused: bool,
    #[arg(long, hide = true)]
    pub(super) no_subreaper: bool,
    pub(super) id: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    #[arg(short, long, value_enum, default_value = "text")]
    pub(super) format: Format,
    pub(super) id: String,
    /// Options of ps(1), taken for others' sake
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(super) rest: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[arg(short, long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Ids only
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// A file with linux.resources, - for standard input
    #[arg(short, long)]
    pub(super) resources: Option<PathBuf>,
    #[arg(long)]
    pub(super) blkio_weight: Option<u16>,
    #[arg(long)]
    pub(super) cpu_period: Option<u64>,
    #[arg(long, allow_negative_numbers = true)]
    pub(super) cpu_quota: Option<i64>,
    #[arg(long, alias = "cpu-shares")]
    pub(super) cpu_share: Option<u64>,
    #[arg(long)]
    pub(super) cpuset_cpus: Option<String>,
    #[arg(long)]
    pub(super) cpuset_mems: Option<String>,
    #[arg(long, allow_negative_numbers = true)]
    pub(super) memory: Option<i64>,
    #[arg(long, allow_negative_numbers = true)]
    pub(super) memory_reservation: Option<i64>,
    #[arg(long, allow_negative_numbers = true)]
    pub(super) memory_swap: Option<i64>,
    #[arg(long, allow_negative_numbers = true)]
    pub(super) pids_limit: Option<i64>,
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Seconds between figures
    #[arg(long, default_value_t = 5)]
    pub(super) interval: u64,
    /// Figures once
    #[arg(long)]
    pub(super) stats: bool,
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct Template {
    /// For a user without privileges
    #[arg(long)]
    pub(super) rootless: bool,
    #[arg(short, long, default_value = ".")]
    pub(super) bundle: PathBuf,
}
