//! What a container asks of its networks, and what it gets.
//!
//! [`Attachment`] is what the engine persists, so its fields only ever grow.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::mac::Mac;
use super::port::PortMapping;
use super::record::DEFAULT_ID;

/// A network that a container wants to be in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The network's id.
    pub network: String,
    /// A fixed address instead of the next free one.
    #[serde(default)]
    pub ip: Option<Ipv4Addr>,
    /// What it is called there.
    #[serde(default)]
    pub names: Vec<String>,
}

impl Join {
    /// The default bridge, with whatever address is free.
    pub fn default_bridge() -> Join {
        Join {
            network: DEFAULT_ID.to_owned(),
            ip: None,
            names: Vec::new(),
        }
    }
}

/// What a container asks of its networks.
#[derive(Debug, Clone, Default)]
pub struct Attach<'a> {
    /// Ports to publish; a host port of 0 becomes a free one.
    pub ports: &'a [PortMapping],
    /// Its networks; none is a loopback only.
    pub joins: &'a [Join],
    /// Servers that its questions about other names go to, instead of the host's.
    pub upstreams: &'a [IpAddr],
}

/// A container's place in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The network's id.
    pub network: String,
    /// The link in the container, e.g. `eth0`.
    pub link: String,
    /// The container's address.
    pub ip: Ipv4Addr,
    /// The bits of `ip` that name the network.
    pub prefix: u8,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The link's address.
    pub mac: Mac,
    /// What it is called there.
    #[serde(default)]
    pub names: Vec<String>,
}

/// A container's places. Those fields that a place has too are of the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub id: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The bits of `ip` that name the network.
    pub prefix: u8,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The link address of its first link.
    pub mac: Mac,
    /// Published ports, host ports as chosen.
    pub ports: Vec<PortMapping>,
    /// Servers for its `/etc/resolv.conf`.
    pub dns: Vec<IpAddr>,
    /// All places; records from before there were several have none, and mean the default bridge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// Servers that its questions about other names go to, instead of the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<IpAddr>,
}

impl Attachment {
    /// Of at least one place.
    pub fn new(
        id: &str,
        places: Vec<Place>,
        ports: Vec<PortMapping>,
        dns: Vec<IpAddr>,
    ) -> Option<Attachment> {
        let first = places.first()?;
        Some(Attachment {
            id: id.to_owned(),
            ip: first.ip,
            prefix: first.prefix,
            gateway: first.gateway,
            mac: first.mac,
            ports,
            dns,
            places,
            upstreams: Vec::new(),
        })
    }

    /// All places, those of old records too.
    pub fn all_places(&self) -> Vec<Place> {
        if !self.places.is_empty() {
            return self.places.clone();
        }
        vec![Place {
            network: DEFAULT_ID.to_owned(),
            link: "eth0".to_owned(),
            ip: self.ip,
            prefix: self.prefix,
            gateway: self.gateway,
            mac: self.mac,
            names: Vec::new(),
        }]
    }

    /// The servers that know the names of containers; none on the default bridge alone.
    pub fn servers(&self) -> Vec<IpAddr> {
        let served = |place: &Place| place.network != DEFAULT_ID;
        let servers = self.places.iter().find(|place| served(place));
        servers
            .map(|place| place.gateway.into())
            .into_iter()
            .collect()
    }

    /// Its place in `network`, by id.
    pub fn place_in(&self, network: &str) -> Option<Place> {
        let mut places = self.all_places().into_iter();
        places.find(|place| place.network == network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"id":"web","ip":"10.88.0.2","prefix":16,"gateway":"10.88.0.1","mac":"02:53:0a:58:00:02","ports":[{"host_ip":null,"host_port":8080,"container_port":80,"protocol":"tcp"}],"dns":["10.0.2.3"]"#;
    const PLACES: &str = r#","places":[{"network":"33df8d075dd94dc6c691e61899f0db521570ad69ca9b193f7156a9c9869ca659","link":"eth0","ip":"10.88.0.2","prefix":16,"gateway":"10.88.0.1","mac":"02:53:0a:58:00:02","names":[]}]"#;

    #[test]
    fn golden_bytes_and_those_of_before() {
        let old: Attachment = serde_json::from_str(&format!("{OLD}}}")).unwrap();
        assert_eq!(serde_json::to_string(&old).unwrap(), format!("{OLD}}}"));
        let places = old.all_places();
        assert_eq!(places[0].network, DEFAULT_ID);
        let new = Attachment::new("web", places, old.ports, old.dns).unwrap();
        let json = serde_json::to_string(&new).unwrap();
        assert_eq!(json, format!("{OLD}{PLACES}}}"));
        assert_eq!(serde_json::from_str::<Attachment>(&json).unwrap(), new);
    }
}
