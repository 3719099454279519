//! What `oci-spec` gets for the crate `regex`: the same interface without Unicode's tables and fast engines,
//! a tenth of the size. Every page of a program is memory of every host.
//!
//! Nothing of Skeg itself uses it, or patterns at all.

pub use regex_lite::*;
