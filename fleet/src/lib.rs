//! Units over many machines: what fleet did, on etcd v3.
//!
//! This far, the pure middle: unit options, the planner and the brake, engine and agent as state
//! machines. Nothing here does I/O or reads a clock.

pub mod agent;
pub mod brake;
pub mod engine;
#[cfg(feature = "edges")]
pub mod etcd;
pub mod machine;
pub mod plan;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod store;
pub mod unit;
