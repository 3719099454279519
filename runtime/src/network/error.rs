//! What can go wrong with a container's network, saying which operation on what.
//!
//! Kernel errors keep their errno's text; a missing kernel feature is named as such.

use std::io;

use thiserror::Error;

use super::claims::PortTaken;
use super::ipam::IpamError;

/// A failed network operation.
#[derive(Debug, Error)]
pub enum Error {
    /// No such address to give.
    #[error(transparent)]
    Address(#[from] IpamError),
    /// A published port has another holder.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// Containers are in it, e.g. this one.
    #[error("the network is in use by container {0}: disconnect it first")]
    InUse(String),
    /// It is in that network already.
    #[error("container {0} is in that network already")]
    Joined(String),
    /// No network has that id.
    #[error("network {0} is not there any more")]
    Unknown(String),
    /// The kernel refused the rules; nothing of them is in force.
    #[error("{operation}: {source}")]
    Rules {
        /// Which table, chain or rule was refused.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A link, route, file, socket or namespace.
    #[error("{operation}: {source}")]
    Io {
        /// What was done to what.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let operation = operation.into();
        move |source| Error::Io { operation, source }
    }

    pub(super) fn link(operation: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
        let operation = operation.into();
        move |error| Error::Io {
            operation,
            source: errno(error),
        }
    }
}

/// What the kernel said, without the crate's words around it.
fn errno(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}
