//! Who is called what in which network.
//!
//! A container sees the names of the networks that it is in itself, and no others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The names of all containers in networks that serve names.
#[derive(Debug, Clone, Default)]
pub struct Names {
    containers: BTreeMap<String, Known>,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its places; the first ones are asked first.
    pub seats: Vec<Seat>,
    /// Servers for all other names; the host's when there are none.
    pub upstreams: Vec<IpAddr>,
}

/// A place in a network, as far as names go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// Nothing leaves it, questions neither.
    pub internal: bool,
    /// The container's address.
    pub ip: Ipv4Addr,
    /// What it is called, its own name first.
    pub names: Vec<String>,
}

impl Known {
    /// Whether its questions may leave the host: not from networks that nothing else leaves.
    pub fn may_ask_others(&self) -> bool {
        self.seats.iter().any(|seat| !seat.internal)
    }
}

impl Names {
    /// Sets what is known of a container.
    pub fn set(&mut self, id: &str, mut known: Known) {
        for name in known.seats.iter_mut().flat_map(|seat| &mut seat.names) {
            name.make_ascii_lowercase();
        }
        self.containers.insert(id.to_owned(), known);
    }

    /// Forgets a container.
    pub fn remove(&mut self, id: &str) {
        self.containers.remove(id);
    }

    /// Who asks from this address.
    pub fn at(&self, ip: Ipv4Addr) -> Option<&Known> {
        let is_there = |known: &&Known| known.seats.iter().any(|seat| seat.ip == ip);
        self.containers.values().find(is_there)
    }

    /// The addresses of `name` (lower case) in the first network of `asker` that knows it.
    pub fn addresses(&self, asker: &Known, name: &str) -> Vec<Ipv4Addr> {
        for own in &asker.seats {
            let whole = name.strip_suffix(&own.network_name.to_ascii_lowercase());
            let whole = whole.and_then(|name| name.strip_suffix('.'));
            let is_called = |seat: &&Seat| {
                seat.names
                    .iter()
                    .any(|n| n == name || Some(n.as_str()) == whole)
            };
            let found = self.in_network(&own.network).filter(is_called);
            let found: Vec<Ipv4Addr> = found.map(|seat| seat.ip).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// The name of who is at `ip`, if `asker` shares that network.
    pub fn name_of(&self, asker: &Known, ip: Ipv4Addr) -> Option<String> {
        let networks = asker.seats.iter().map(|own| &own.network);
        let mut seats = networks.flat_map(|network| self.in_network(network));
        let seat = seats.find(|seat| seat.ip == ip)?;
        Some(format!("{}.{}", seat.names.first()?, seat.network_name))
    }

    fn in_network<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Seat> {
        let seats = self.containers.values().flat_map(|known| &known.seats);
        seats.filter(move |seat| seat.network == network)
    }
}
