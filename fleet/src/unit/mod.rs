//! Units as the scheduler sees them: a name, a desired state and the `[X-Fleet]` section.
//!
//! What the unit runs is the host's affair; no other section is read.

pub mod name;
pub mod options;
pub mod requirement;
pub mod resources;
mod specifier;

pub use name::UnitName;
pub use options::Options;

/// What a user wants of a unit (fleet's `desiredState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Desired {
    /// Known to the cluster, on no machine.
    Inactive,
    /// On a machine, not started.
    Loaded,
    /// On a machine, started.
    Launched,
}

/// A unit that was submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// What is wanted of it.
    pub desired: Desired,
    /// Its `[X-Fleet]` section, specifiers expanded.
    pub options: Options,
}
