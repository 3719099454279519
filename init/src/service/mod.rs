//! Services: order, supervision, `sd_notify`, logs.
//!
//! The deciders (`supervisor`, `order`, `backoff`, `view`) touch nothing; the doers
//! (`launch`, `cgroup`, `log`, `store`, `mailbox`) decide nothing.

pub mod backoff;
pub mod cgroup;
pub mod launch;
pub mod log;
pub mod mailbox;
pub mod order;
pub mod store;
pub mod supervisor;
pub mod view;
