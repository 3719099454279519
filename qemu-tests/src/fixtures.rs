//! What the machines are fed: OCI images from Debian packages, registries, faulty ones too.
//!
//! Made once, kept in `target/fixtures`, made anew when their inputs change.
