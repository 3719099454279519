//! An IPv4 network, such as `10.88.0.0/16`, that containers get their addresses from.
//!
//! Always holds the network's first address: host bits are never set.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network with room for a gateway and at least one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

    /// Whether `address` can be that of a machine in it: neither the first nor the last.
    pub fn is_for_machines(&self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.base && address != self.broadcast()
    }

    /// Whether some address belongs to both.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Whether all addresses of `other` belong to it.
    pub fn covers(&self, other: &Subnet) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }
}

impl FromStr for Subnet {
    type Err = String;

    /// `ADDRESS/PREFIX`; host bits are cut.
    fn from_str(text: &str) -> Result<Subnet, String> {
        let read = || {
            let (address, prefix) = text.split_once('/')?;
            Subnet::containing(address.parse().ok()?, prefix.parse().ok()?)
        };
        read().ok_or_else(|| {
            format!("expected an IPv4 network of 1 to 30 bits such as 10.90.0.0/24, found {text:?}")
        })
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Subnet, String> {
        text.parse()
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
    fn base_and_broadcast_are_nobodys_own() {
        let subnet = Subnet::DEFAULT;
        for address in [subnet.base(), subnet.broadcast()] {
            assert!(!subnet.is_for_machines(address), "{address}");
        }
        assert!(subnet.is_for_machines(Ipv4Addr::new(10, 88, 0, 2)));
        assert!(!subnet.is_for_machines(Ipv4Addr::new(10, 89, 0, 2)));
    }

    #[test]
    fn what_is_written_is_read_back_and_overlaps_are_seen() {
        let read = |text: &str| text.parse::<Subnet>();
        let wide = read("10.90.0.0/16").unwrap();
        let narrow = read("10.90.7.9/24").unwrap();
        assert_eq!(narrow.to_string(), "10.90.7.0/24");
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        assert!(!narrow.overlaps(&read("10.90.8.0/24").unwrap()));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/64", "10.0.0/8", "/8"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_without_room_for_a_container_is_refused() {
        for prefix in [0, 31, 32, 200] {
            assert_eq!(Subnet::containing(Ipv4Addr::new(10, 0, 0, 0), prefix), None);
        }
    }
}
