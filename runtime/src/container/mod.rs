//! One container: from an OCI runtime spec to an ordered plan of kernel operations, and its execution.
//!
//! Parse → plan → execute: [`plan`] decides and touches nothing, the zygote's child executes and
//! decides nothing. Images, networks, logs and restart policies are unknown here.

pub mod capabilities;
pub mod cgroup;
pub mod child;
mod copy_up;
pub mod defaults;
pub mod device_rules;
pub mod devices;
pub mod failure;
mod fault;
pub mod hook;
pub mod idmap;
pub mod masks;
pub mod mount_options;
pub mod mounts;
pub(crate) mod mutant;
pub mod namespaces;
pub mod operation;
pub mod options;
pub mod plan;
mod process;
mod refusals;
mod rootfs;
pub mod seccomp;
pub mod seccomp_file;
pub mod seccomp_profile;
mod terminal;
pub mod user;
