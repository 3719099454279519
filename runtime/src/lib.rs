//! The container runtime, the engine and their command line.
//!
//! Each module is a pure middle (plans, parsers, state machines) with a thin edge (files, netlink,
//! sockets). Nothing here knows init, updater or fleet: they meet in `formats`.

mod beat;
pub mod cli;
pub mod container;
pub mod crash;
pub mod daemon_log;
pub mod engine;
pub mod hostnet;
pub mod image;
pub mod network;
pub mod oci;
pub mod supervisor;
pub mod systemd1;
pub mod unit;
mod watched;
pub mod zygote;
