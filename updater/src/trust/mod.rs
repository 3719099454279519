//! Trust: which documents this host believes. Values in, values out: no file, no clock, no network.
//!
//! [`VerifiedChannel`] and [`VerifiedRelease`] come from here and from nowhere else; whoever holds one
//! need not check again.

mod clock;
mod error;
mod keys;
mod release;

pub use clock::Clock;
pub use error::TrustError;
pub use keys::TrustedRoot;
pub use release::{Host, Memory, VerifiedChannel, VerifiedRelease};
