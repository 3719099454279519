//! The updater: finds releases, verifies them, fetches what the host lacks, and boots them on trial.
//!
//! Trusts no transport and no repository: only what [`trust`] verified is fetched, and what is fetched
//! is checked before it is handed on.

pub mod cli;
pub mod daemon;
pub mod esp;
pub mod fetch;
pub mod firmware;
pub mod gate;
pub mod machine;
pub mod reader;
pub mod strategy;
pub mod trust;
