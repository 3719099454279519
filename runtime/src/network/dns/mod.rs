//! Names of containers, served on the gateway of each network that a user made.
//!
//! The answers are pure ([`answer`]); what is not a container's name goes to the host's resolvers.
//! Nobody but a known container is answered: a gateway is no resolver for the neighbourhood.

pub mod answer;
pub mod names;
pub mod server;
pub mod upstream;

pub use names::Names;
pub use server::Server;
