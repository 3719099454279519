//! DHCPv4 as a client: the messages, the state machine, and the packets around them.
//!
//! All pure: no socket, no clock, no address is set here.

pub mod answer;
#[cfg(test)]
mod conversation;
pub mod lease;
pub mod machine;
pub mod message;
pub mod packet;
pub mod random;
