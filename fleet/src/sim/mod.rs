//! The simulator: the real planner, engines and agents on virtual time, with a model of etcd, hosts that
//! run units, and faults from a seed.
//!
//! It never sleeps and never asks the machine's clock: the same seed gives the same run.

mod chance;
mod check;
mod cluster;
mod etcd;
mod faults;
#[cfg(test)]
mod hands;
mod host;
#[cfg(test)]
mod tests;

pub use chance::Chance;
pub use check::Violation;
pub use cluster::{Cluster, Sabotage, Setup};
