//! Units: Quadlet files, parsed and resolved.
//!
//! A file is text in, a unit or a list of problems out. Nothing here starts anything; only
//! [`load`] reads files, and `drop_ins` their folders.

pub mod calendar;
pub mod condition;
mod container;
mod drop_ins;
pub mod keys;
pub mod load;
mod name;
pub mod network;
pub mod order;
mod resolve;
mod time;
pub mod timer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::options::{ContainerOptions, PullPolicy};
use condition::Condition;
pub use formats::unit_file::Problem;
pub use name::UnitName;
use network::Network;
use timer::Timer;

/// Targets that each boot reaches.
const BOOT: [&str; 3] = ["multi-user.target", "default.target", "timers.target"];

/// One unit, as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Name of its service, e.g. `web.service`; of `data.volume` it is `data-volume.service`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// `Description=`, else the name.
    pub description: String,
    /// Units that are started before it, if they are started.
    pub after: BTreeSet<String>,
    /// Units that are started after it.
    pub before: BTreeSet<String>,
    /// Units without which it is not started.
    pub requires: BTreeSet<String>,
    /// Units that are started with it.
    pub wants: BTreeSet<String>,
    /// As `requires`, and it ends when they end, for whatever reason.
    pub binds_to: BTreeSet<String>,
    /// It is stopped and restarted with them.
    pub part_of: BTreeSet<String>,
    /// Units that have to be active already.
    pub requisite: BTreeSet<String>,
    /// Units that it never runs beside: its start stops them, and theirs stops it.
    pub conflicts: BTreeSet<String>,
    /// What has to hold, or it is not started.
    pub conditions: Vec<Condition>,
    /// Targets that start it at boot, and units that it is started with.
    pub wanted_by: BTreeSet<String>,
    /// As `wanted_by`; a unit here is not started without it.
    pub required_by: BTreeSet<String>,
    /// How long a start may take, image included; `None` is for ever.
    pub start_timeout: Option<Duration>,
    /// It has started when its program has ended with success.
    pub oneshot: bool,
    /// It counts as active after that.
    pub remains: bool,
    /// The instance of a template that is installed.
    pub default_instance: Option<String>,
    /// What it is.
    pub kind: Kind,
}

/// What a unit is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A container.
    Container(Box<ContainerOptions>),
    /// A named volume.
    Volume {
        /// Its name in the engine.
        name: String,
    },
    /// A network that containers join.
    Network(Network),
    /// Starts another unit when its time comes.
    Timer(Timer),
    /// An image that is fetched.
    Image {
        /// Its reference.
        image: String,
        /// When it is fetched.
        policy: PullPolicy,
    },
}

/// All that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(|p| located(path, p)).collect::<Vec<_>>().join("\n"))]
pub struct UnitError {
    /// The file.
    pub path: PathBuf,
    /// In the order of their lines; never empty.
    pub problems: Vec<Problem>,
}

fn located(path: &Path, problem: &Problem) -> String {
    let path = problem.file.as_deref().unwrap_or(path).display();
    match problem.line {
        0 => format!("{path}: {}", problem.message),
        line => format!("{path}:{line}: {}", problem.message),
    }
}

impl Unit {
    /// Reads one file's text; its kind comes from the path's extension.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn parse(path: &Path, text: &str) -> Result<Self, UnitError> {
        Self::with_drop_ins(path, text, &[])
    }

    /// Reads one file's text and then its drop-ins', in their order.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn with_drop_ins(
        path: &Path,
        text: &str,
        drop_ins: &[(PathBuf, String)],
    ) -> Result<Self, UnitError> {
        container::parse(path, text, drop_ins).map_err(|problems| UnitError {
            path: path.to_path_buf(),
            problems,
        })
    }

    /// One that does nothing, and that others fill in.
    fn empty(name: String, path: &Path) -> Self {
        let none = BTreeSet::new;
        Self {
            description: name.clone(),
            name,
            path: path.to_path_buf(),
            after: none(),
            before: none(),
            requires: none(),
            wants: none(),
            binds_to: none(),
            part_of: none(),
            requisite: none(),
            conflicts: none(),
            conditions: Vec::new(),
            wanted_by: none(),
            required_by: none(),
            start_timeout: None,
            oneshot: false,
            remains: false,
            default_instance: None,
            kind: Kind::Volume {
                name: String::new(),
            },
        }
    }

    /// Whether it is a template, which is no unit before it has an instance.
    pub fn is_template(&self) -> bool {
        name::is_template(&self.name)
    }

    /// Units that have to be there before it starts.
    pub fn needs(&self) -> impl Iterator<Item = &String> {
        self.requires.iter().chain(&self.binds_to)
    }

    /// Whether it starts at boot.
    pub fn starts_at_boot(&self) -> bool {
        let by = self.wanted_by.iter().chain(&self.required_by);
        !self.is_template() && by.into_iter().any(|t| BOOT.contains(&t.as_str()))
    }
}
