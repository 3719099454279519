//! One container: from an OCI runtime spec to an ordered plan of kernel operations, and its execution.
//!
//! Parse → plan → execute: [`plan`] decides and touches nothing, the zygote's child executes and
//! decides nothing. Images, networks, logs and restart policies are unknown here.

pub mod cgroup;
pub mod defaults;
