//! The SSH server of the host: `skeg`'s commands, Docker's API and forwarded ports, for users with keys.
//!
//! It has no passwords, no shell and no file transfer, and knows no container itself: a command is a
//! child that runs `skeg`, Docker's API is a socket that it copies to and from.

pub mod command;
pub mod connection;
pub mod forward;
pub mod gate;
pub mod grant;
pub mod host_key;
pub mod people;
pub mod prompt;
pub mod server;
pub mod session;
pub mod terminal;
pub mod throttle;
pub mod words;
