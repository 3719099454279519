//! An IPv4 network, such as `10.88.0.0/16`, that containers get their addresses from.
//!
//! Always holds the network's first address: host bits are never set.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 network with room for a gateway and at least one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The default bridge's network.
    pub const DEFAULT: Subnet = Subnet {
        base: Ipv4Addr::new(10, 88, 0, 0),
        prefix: 16,
    };

    /// The network of `prefix` bits that `address` lies in; `None` for prefixes outside 1 to 30.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        if !(1..=30).contains(&prefix) {
            return None;
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Some(Subnet {
            base: Ipv4Addr::from_bits(address.to_bits() & mask),
            prefix,
        })
    }

    /// The first address, with all host bits zero.
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// The number of leading bits that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask with `prefix` leading ones.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// The address of the bridge itself: the first usable one.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 1)
    }

    /// The last address, which reaches all others.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !self.mask().to_bits())
    }

    /// Whether `address` belongs to the network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask().to_bits() == self.base.to_bits()
    }

    /// Whether a container may have `address`: neither base, gateway nor broadcast.
    pub fn is_for_containers(&self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && address != self.base
            && address != self.gateway()
            && address != self.broadcast()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cut_and_the_first_address_is_the_gateway() {
        let subnet = Subnet::containing(Ipv4Addr::new(192, 168, 7, 99), 24).unwrap();
        assert_eq!(subnet.to_string(), "192.168.7.0/24");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(192, 168, 7, 1));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(192, 168, 7, 255));
    }

    #[test]
    fn base_gateway_and_broadcast_are_not_for_containers() {
        let subnet = Subnet::DEFAULT;
        for address in [subnet.base(), subnet.gateway(), subnet.broadcast()] {
            assert!(!subnet.is_for_containers(address), "{address}");
        }
        assert!(subnet.is_for_containers(Ipv4Addr::new(10, 88, 0, 2)));
        assert!(!subnet.is_for_containers(Ipv4Addr::new(10, 89, 0, 2)));
    }

    #[test]
    fn a_network_without_room_for_a_container_is_refused() {
        for prefix in [0, 31, 32, 200] {
            assert_eq!(Subnet::containing(Ipv4Addr::new(10, 0, 0, 0), prefix), None);
        }
    }
}
