//! PID 1 of a Skeg host: boots, supervises a handful of services, keeps what the engine must not lose.
//!
//! No thread, no async runtime, no serializer. It never exits, and an error is a degraded state that
//! is shown, not a panic. Deciders are pure and tested without root; see the modules.

pub mod boot;
pub mod clock;
pub mod console;
pub mod degraded;
pub mod floor;
pub mod host;
pub mod journal;
pub mod power;
pub mod report;
pub mod room;
pub mod service;
pub mod slots;
pub mod timeline;
pub mod trial;
pub mod watchdog;
