//! Ignition's documents: which fields there are, since when, and how two documents become one.
//!
//! Knows the specification's text, not this host: what fields come to is [`crate::translate`]'s.

pub mod check;
pub mod gather;
pub mod merge;
pub mod schema;
pub mod version;
