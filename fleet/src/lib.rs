//! Units over many machines: what fleet did, on etcd v3.
//!
//! This far, the pure middle: unit options, machines, the planner and the brake. Nothing here does
//! I/O or reads a clock.

pub mod brake;
pub mod machine;
pub mod plan;
pub mod unit;
