//! On-disk and wire types of Skeg: the contracts between programs that never link each other.
//!
//! No I/O, no clock, no allocation in [`registration`]. Every format carries a version and has
//! golden bytes in its tests: a change of those bytes is a change of the contract.

pub mod accounts;
pub mod boot;
#[cfg(feature = "serde")]
pub mod channel;
pub mod config;
pub mod digest;
#[cfg(feature = "serde")]
pub mod fleet;
pub mod health;
pub mod journal;
#[cfg(feature = "serde")]
pub mod manifest;
pub mod name;
pub mod notify;
pub mod patch;
pub mod paths;
pub mod pieces;
pub mod registration;
pub mod release;
pub mod repository;
#[cfg(feature = "serde")]
pub mod root;
pub mod seccomp;
pub mod service;
#[cfg(feature = "serde")]
pub mod signed;
pub mod status;
pub mod systemd1;
pub mod unit_file;
pub mod update;
pub mod version;
