//! The nf_tables part of netlink, as far as our own table needs it.
//!
//! Encodes and sends, decides nothing: which rules there are is said by [`super::ruleset`].

pub mod attribute;
pub mod batch;
pub mod expression;
pub mod reply;
pub mod socket;

use expression::Expression;

/// A whole table of family `ip`: the desired state that replaces what the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its chains; one that is jumped to stands before those that jump.
    pub chains: Vec<Chain>,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name, unique in the table.
    pub name: &'static str,
    /// Where packets enter it; `None` for chains that are only jumped to.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Where and when the kernel hands packets to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// The point in a packet's way.
    pub point: Point,
    /// Lower runs earlier.
    pub priority: i32,
    /// What happens to packets that no rule decides on.
    pub policy: Policy,
}

/// The points in a packet's way, numbered as the kernel does (`NF_INET_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Point {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A verdict that ends a packet's way through a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// One rule: all matches must hold, then the last expression acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Shown by `nft list ruleset` and named in errors; at most 127 bytes are kept.
    pub comment: String,
    /// What the kernel evaluates, in order.
    pub expressions: Vec<Expression>,
}
