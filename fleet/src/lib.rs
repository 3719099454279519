//! Units over many machines: what fleet did, on etcd v3.
//!
//! The middle is pure: unit options, the planner and the brake, engine and agent as state machines do
//! no I/O and read no clock. Around it, with feature `edges`: etcd, D-Bus, HTTP and the command line.

pub mod agent;
#[cfg(feature = "edges")]
pub mod api;
pub mod brake;
#[cfg(feature = "edges")]
pub mod cli;
#[cfg(feature = "edges")]
pub mod daemon;
pub mod engine;
#[cfg(feature = "edges")]
pub mod etcd;
#[cfg(feature = "edges")]
pub mod host;
pub mod machine;
pub mod plan;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod store;
pub mod unit;
