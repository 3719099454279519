//! The host's configuration: Ignition 3.0 to 3.5 in, a resolved tree out, kept on STATE.
//!
//! The whole is checked before anything is built; what is wrong is told with its line and column.

pub mod boot;
pub mod cli;
pub mod http;
pub mod ignition;
pub mod json;
pub mod kept;
pub mod problem;
pub mod resource;
pub mod source;
pub mod translate;
pub mod tree;
pub mod web;
