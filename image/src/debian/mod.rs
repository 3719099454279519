//! Packages of Debian: pinned in a lock, found on the machine's own mirror, checked by apt's
//! signatures and our hashes, kept unpacked in a cache.
//!
//! Never installs anything on the host, and never names a mirror itself.

pub mod apt;
pub mod cache;
pub mod candidate;
pub mod lock;
pub mod mirror;
