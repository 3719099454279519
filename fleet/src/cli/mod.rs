//! `skeg fleet`: fleetctl's verbs, and what they never had.
//!
//! It speaks with the API alone, never with etcd; what the API refuses is printed as it said it.

mod client;
mod deploys;
mod files;
mod tables;
mod verbs;

use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Units over many machines.
#[derive(Debug, Parser)]
#[command(name = "skeg fleet", version, disable_help_subcommand = true)]
struct Arguments {
    /// Where the API is: a socket's path, http://HOST:PORT or https://HOST:PORT
    #[arg(long, global = true, default_value = "/run/skeg/fleet.sock")]
    endpoint: String,
    /// File with the token
    #[arg(long, global = true, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Certificates that the API's is signed by, PEM
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// This client's certificate, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How lists are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// No header above a table
    #[arg(long, global = true)]
    no_legend: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Debug, clap::Args)]
struct Units {
    /// Unit files, or names of units that are submitted
    #[arg(required = true)]
    units: Vec<String>,
    /// Do not wait until it is so
    #[arg(long)]
    no_block: bool,
    /// Seconds to wait
    #[arg(long, default_value_t = 30)]
    wait: u64,
    /// Take a changed file for a unit that is there
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell the cluster units, without placing them
    Submit(Units),
    /// Place units on machines, without starting them
    Load(Units),
    /// Start units
    Start(Units),
    /// Stop units; they keep their machines
    Stop(Units),
    /// Take units from their machines
    Unload(Units),
    /// Remove units from the cluster
    Destroy(Units),
    /// Print a unit's file
    Cat {
        /// Its name
        unit: String,
    },
    /// Units on machines
    ListUnits,
    /// Units that were submitted
    ListUnitFiles,
    /// Machines
    ListMachines,
    /// What machines say of a unit
    Status {
        /// Their names
        #[arg(required = true)]
        units: Vec<String>,
    },
    /// Why a unit is where it is, or what would have to change for it to run
    Why {
        /// Its name
        unit: String,
    },
    /// How far a template's changed text has gone round its instances; waits for its end
    Rollout {
        /// The template
        template: String,
        /// Say it once, do not wait
        #[arg(long)]
        no_block: bool,
    },
    /// Check unit files, without a cluster
    Verify {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Submit and start all unit files of a folder, taking changed ones
    Apply {
        /// The folder, or one file
        #[arg(short = 'f', long = "file")]
        from: PathBuf,
    },
    /// A machine takes no other units
    Cordon {
        /// Its id, or how it begins
        machine: String,
    },
    /// A machine's units leave
    Drain {
        /// Its id, or how it begins
        machine: String,
    },
    /// A machine takes units again
    Uncordon {
        /// Its id, or how it begins
        machine: String,
    },
    /// A machine never comes back
    Forget {
        /// Its id, or how it begins
        machine: String,
    },
    /// Many machines were lost, and they are: their units may move
    LiftBrake,
    /// Who may reboot now, by group, and since when
    Reboots,
    /// How many machines of a group may reboot at once; 0 holds all of them
    RebootSlots {
        /// The group
        group: String,
        /// So many
        slots: u32,
    },
    /// Give back the slot of a machine that never will
    RebootRelease {
        /// The group
        group: String,
        /// The machine, as `reboots` has it
        id: String,
    },
    /// How engine and etcd are
    Health,
    /// Make etcd's users and roles for engines and machines, and turn its authentication on
    Init {
        /// Which etcd: the section `[etcd]` of this file
        #[arg(long, default_value = "/etc/skeg/fleet.toml", value_name = "FILE")]
        config: PathBuf,
        /// Folder that gets a file with a password for each user
        #[arg(long, value_name = "FOLDER")]
        passwords: PathBuf,
        /// Machines' ids, all digits; more can be added later
        machines: Vec<String>,
    },
    /// Decide for the cluster
    Engine(Daemon),
    /// Run units on this machine
    Agent(Daemon),
    /// Not here
    #[command(hide = true, trailing_var_arg = true)]
    Ssh { words: Vec<String> },
    /// Not here
    #[command(hide = true, trailing_var_arg = true)]
    FdForward { words: Vec<String> },
    /// Not here
    #[command(hide = true, trailing_var_arg = true)]
    Journal { words: Vec<String> },
}

#[derive(Debug, clap::Args)]
struct Daemon {
    /// Its configuration
    #[arg(long, default_value = "/etc/skeg/fleet.toml", value_name = "FILE")]
    config: PathBuf,
}

/// The program.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match verbs::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skeg fleet: {error}");
            ExitCode::FAILURE
        }
    }
}
