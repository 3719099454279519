//! Which container has which address of a network.
//!
//! Holds nothing on disk: after a restart the caller gives back the addresses of what still runs.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use thiserror::Error;

use super::pool::Pool;
use super::subnet::Subnet;

/// Why an address cannot be given.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IpamError {
    /// Every address of the network has a holder.
    #[error("network {0}: all addresses are taken: remove a container or use another network")]
    Exhausted(Subnet),
    /// The wanted address has another holder.
    #[error("address {address}: held by container {holder}: choose another one or stop {holder}")]
    Taken {
        /// The wanted address.
        address: Ipv4Addr,
        /// Who has it.
        holder: String,
    },
    /// The wanted address cannot be a container's.
    #[error(
        "address {address}: expected a container's address in {subnet} (not its first, its last, its gateway or a reserved one)"
    )]
    Outside {
        /// The wanted address.
        address: Ipv4Addr,
        /// The network it was wanted in.
        subnet: Subnet,
    },
}

/// The addresses of one network and their holders.
#[derive(Debug, Clone)]
pub struct Ipam {
    pool: Pool,
    holders: BTreeMap<Ipv4Addr, String>,
    by_id: BTreeMap<String, Ipv4Addr>,
    /// Where the next search starts: a freed address rests for as long as there are fresh ones,
    /// so that a neighbour's stale entry or a late packet does not reach a new container.
    next: u32,
    /// The last ones that gave their address back: who comes again gets the old one, so that a
    /// datagram's remembered way still leads to it.
    remembered: VecDeque<(String, Ipv4Addr)>,
}

/// How many are remembered.
const REMEMBERED: usize = 256;

impl Ipam {
    /// An allocator in which all addresses are free.
    pub fn new(pool: Pool) -> Ipam {
        Ipam {
            next: pool.first(),
            pool,
            holders: BTreeMap::new(),
            by_id: BTreeMap::new(),
            remembered: VecDeque::new(),
        }
    }

    /// Gives `id` an address; the one it has already, if it has one.
    pub fn reserve(&mut self, id: &str) -> Result<Ipv4Addr, IpamError> {
        if let Some(address) = self.by_id.get(id) {
            return Ok(*address);
        }
        if let Some(address) = self.recall(id) {
            self.take(id, address);
            return Ok(address);
        }
        let (first, last) = (self.pool.first(), self.pool.last());
        let address = (self.next..=last)
            .chain(first..self.next)
            .map(Ipv4Addr::from_bits)
            .find(|address| self.pool.gives(*address) && !self.holders.contains_key(address))
            .ok_or(IpamError::Exhausted(self.pool.subnet))?;
        self.take(id, address);
        Ok(address)
    }

    /// Gives `id` this very address, instead of the one it may have.
    pub fn reserve_exact(&mut self, id: &str, address: Ipv4Addr) -> Result<(), IpamError> {
        if !self.pool.gives(address) {
            return Err(IpamError::Outside {
                address,
                subnet: self.pool.subnet,
            });
        }
        match self.holders.get(&address) {
            Some(holder) if holder != id => Err(IpamError::Taken {
                address,
                holder: holder.clone(),
            }),
            _ => {
                self.release(id);
                self.take(id, address);
                Ok(())
            }
        }
    }

    /// Takes over addresses that are in use already; the first that cannot be is the error.
    pub fn restore<'a>(
        &mut self,
        leases: impl IntoIterator<Item = (&'a str, Ipv4Addr)>,
    ) -> Result<(), IpamError> {
        leases
            .into_iter()
            .try_for_each(|(id, address)| self.reserve_exact(id, address))
    }

    /// Frees the address of `id`; it says which one that was.
    pub fn release(&mut self, id: &str) -> Option<Ipv4Addr> {
        let address = self.by_id.remove(id)?;
        self.holders.remove(&address);
        self.remembered.push_back((id.to_owned(), address));
        self.remembered
            .drain(..self.remembered.len().saturating_sub(REMEMBERED));
        Some(address)
    }

    /// The address of `id`.
    pub fn address_of(&self, id: &str) -> Option<Ipv4Addr> {
        self.by_id.get(id).copied()
    }

    /// The address that `id` had before, if nobody else has it now.
    fn recall(&mut self, id: &str) -> Option<Ipv4Addr> {
        let place = self.remembered.iter().rposition(|(past, _)| past == id)?;
        let (_, address) = self.remembered.remove(place)?;
        (!self.holders.contains_key(&address)).then_some(address)
    }

    fn take(&mut self, id: &str, address: Ipv4Addr) {
        self.holders.insert(address, id.to_owned());
        self.by_id.insert(id.to_owned(), address);
        let after = address.to_bits() + 1;
        // A wanted address may lie outside the range that addresses are given from.
        self.next = if (self.pool.first()..=self.pool.last()).contains(&after) {
            after
        } else {
            self.pool.first()
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(subnet: &str) -> Ipam {
        Ipam::new(Pool::of(subnet.parse().unwrap()))
    }

    fn small() -> Ipam {
        of("10.0.0.0/29")
    }

    #[test]
    fn addresses_start_after_the_gateway_and_stay_with_their_holder() {
        let mut ipam = of("10.88.0.0/16");
        assert_eq!(ipam.reserve("web"), Ok(Ipv4Addr::new(10, 88, 0, 2)));
        assert_eq!(ipam.reserve("db"), Ok(Ipv4Addr::new(10, 88, 0, 3)));
        assert_eq!(ipam.reserve("web"), Ok(Ipv4Addr::new(10, 88, 0, 2)));
    }

    #[test]
    fn a_freed_address_rests_until_the_fresh_ones_are_used_up() {
        let mut ipam = small();
        let first = ipam.reserve("a").unwrap();
        assert_eq!(ipam.release("a"), Some(first));
        for id in ["b", "c", "d", "e"] {
            assert_ne!(ipam.reserve(id), Ok(first));
        }
        assert_eq!(ipam.reserve("f"), Ok(first));
        assert!(matches!(ipam.reserve("g"), Err(IpamError::Exhausted(_))));
    }

    #[test]
    fn who_comes_again_gets_the_old_address_unless_it_is_taken() {
        let mut ipam = of("10.88.0.0/16");
        let first = ipam.reserve("web").unwrap();
        ipam.release("web");
        ipam.reserve("db").unwrap();
        assert_eq!(ipam.reserve("web"), Ok(first));
        ipam.release("web");
        ipam.reserve_exact("other", first).unwrap();
        assert_ne!(ipam.reserve("web"), Ok(first));
        for run in 0..1000 {
            let id = format!("run{run}");
            ipam.reserve(&id).unwrap();
            ipam.release(&id);
        }
        assert_eq!(ipam.remembered.len(), REMEMBERED);
    }

    #[test]
    fn a_wanted_address_is_refused_with_its_holder_or_its_network() {
        let mut ipam = of("10.88.0.0/16");
        let wanted = Ipv4Addr::new(10, 88, 5, 5);
        ipam.reserve_exact("web", wanted).unwrap();
        ipam.reserve_exact("web", wanted).unwrap();
        let error = ipam.reserve_exact("db", wanted).unwrap_err().to_string();
        assert!(
            error.contains("10.88.5.5") && error.contains("web"),
            "{error}"
        );
        let error = ipam
            .reserve_exact("db", Ipv4Addr::new(10, 88, 0, 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("10.88.0.0/16"), "{error}");
        assert_eq!(ipam.address_of("db"), None);
    }

    #[test]
    fn restored_addresses_are_not_given_again() {
        let mut ipam = small();
        ipam.restore([
            ("a", Ipv4Addr::new(10, 0, 0, 2)),
            ("b", Ipv4Addr::new(10, 0, 0, 6)),
        ])
        .unwrap();
        let rest: Vec<_> = ["c", "d", "e"]
            .iter()
            .map(|id| ipam.reserve(id).unwrap().octets()[3])
            .collect();
        assert_eq!(rest, [3, 4, 5]);
    }

    #[test]
    fn a_range_is_filled_and_its_rest_is_for_those_who_ask_by_name() {
        let mut pool = Pool::of("10.90.0.0/24".parse().unwrap());
        pool.range = Some("10.90.0.128/30".parse().unwrap());
        pool.reserved = vec![Ipv4Addr::new(10, 90, 0, 129)];
        let mut ipam = Ipam::new(pool);
        let given: Vec<_> = ["a", "b", "c"]
            .map(|id| ipam.reserve(id).map(|ip| ip.octets()[3]))
            .into();
        assert_eq!(given, [Ok(128), Ok(130), Ok(131)]);
        assert!(matches!(ipam.reserve("d"), Err(IpamError::Exhausted(_))));
        ipam.reserve_exact("d", Ipv4Addr::new(10, 90, 0, 7))
            .unwrap();
        assert!(
            ipam.reserve_exact("e", Ipv4Addr::new(10, 90, 0, 129))
                .is_err()
        );
        ipam.release("b");
        assert_eq!(ipam.reserve("f"), Ok(Ipv4Addr::new(10, 90, 0, 130)));
    }

    proptest! {
        #[test]
        fn no_two_holders_share_an_address(steps in prop::collection::vec((0u8..12, any::<bool>()), 0..200)) {
            let mut ipam = of("10.0.0.0/28");
            for (id, add) in steps {
                let id = format!("c{id}");
                if add { ipam.reserve(&id).unwrap(); } else { ipam.release(&id); }
                prop_assert_eq!(ipam.holders.len(), ipam.by_id.len());
                for (id, address) in &ipam.by_id {
                    prop_assert_eq!(ipam.holders.get(address), Some(id));
                    prop_assert!(ipam.pool.gives(*address));
                }
            }
        }
    }
}
