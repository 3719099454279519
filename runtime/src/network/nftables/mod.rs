//! The nf_tables part of netlink, as far as our own table needs it.
//!
//! Encodes and decides nothing else: which rules there are is said by [`super::ruleset`].
