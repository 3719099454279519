//! Containers that the engine has registered: their slots, and the socket on which it asks for them.
//!
//! `table` and `outbox` decide; `child` and `desk` talk to the kernel.

pub mod child;
pub mod desk;
pub mod outbox;
pub mod table;
