//! Units as the scheduler sees them: a name, a desired state and the `[X-Fleet]` section.
//!
//! What the unit runs is the host's affair; no other section is read.

pub mod options;
pub mod requirement;
pub mod resources;
pub mod rollout;
mod specifier;

pub use formats::fleet::{Desired, UnitName};
pub use options::Options;

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
