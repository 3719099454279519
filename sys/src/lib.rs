//! What the kernel offers and safe Rust does not: system calls that `nix` lacks, and the durable write.
//!
//! Every `unsafe` of Skeg is in this crate. It decides nothing: no policy, no parsing, no logging.

pub mod block;
pub mod child;
pub mod clone3;
pub mod counting;
pub mod device_filter;
pub mod durable;
pub mod entry;
pub mod heap;
pub mod launch;
pub mod mount_attr;
pub mod packet;
pub mod probe;
pub mod process;
pub mod reap;
pub mod sched;
pub mod watchdog;
