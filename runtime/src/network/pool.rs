//! Which addresses of a network may be given, and to whom.
//!
//! Pure; who holds which is [`super::ipam`].

use std::net::Ipv4Addr;

use super::subnet::Subnet;

/// The addresses of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// The bridge's own.
    pub gateway: Ipv4Addr,
    /// Those that are given without having been asked for by name; the whole network when absent.
    pub range: Option<Subnet>,
    /// Those that belong to others on the link.
    pub reserved: Vec<Ipv4Addr>,
}

impl Pool {
    /// All addresses but the first usable one, the gateway's.
    pub fn of(subnet: Subnet) -> Pool {
        Pool {
            subnet,
            gateway: subnet.gateway(),
            range: None,
            reserved: Vec::new(),
        }
    }

    /// Whether a container may have `address`.
    pub fn gives(&self, address: Ipv4Addr) -> bool {
        self.subnet.is_for_machines(address)
            && address != self.gateway
            && !self.reserved.contains(&address)
    }

    /// The first address that is looked at for a container.
    pub fn first(&self) -> u32 {
        self.range.unwrap_or(self.subnet).base().to_bits()
    }

    /// The last.
    pub fn last(&self) -> u32 {
        self.range.unwrap_or(self.subnet).broadcast().to_bits()
    }
}
