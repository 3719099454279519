//! What the kernel offers and safe Rust does not: system calls that `nix` lacks, and the durable write.
//!
//! Every `unsafe` of Skeg is in this crate. It decides nothing: no policy, no parsing, no logging.

pub mod durable;
pub mod process;
