//! What a container asks of its network, and what it gets.
//!
//! [`Attachment`] is what the engine persists, so its fields only ever grow.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::mac::Mac;
use super::port::PortMapping;

/// What a container asks of the default bridge.
#[derive(Debug, Clone, Default)]
pub struct Attach<'a> {
    /// Ports to publish; a host port of 0 becomes a free one.
    pub ports: &'a [PortMapping],
    /// A fixed address instead of the next free one.
    pub ip: Option<Ipv4Addr>,
}

/// A container's place on the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub id: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The bits of `ip` that name the network.
    pub prefix: u8,
    /// The bridge's address: the container's default route.
    pub gateway: Ipv4Addr,
    /// The link address of its `eth0`.
    pub mac: Mac,
    /// Published ports, host ports as chosen.
    pub ports: Vec<PortMapping>,
    /// Servers for its `/etc/resolv.conf`.
    pub dns: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let ip = Ipv4Addr::new(10, 88, 0, 2);
        let attachment = Attachment {
            id: "web".to_owned(),
            ip,
            prefix: 16,
            gateway: Ipv4Addr::new(10, 88, 0, 1),
            mac: Mac::for_address(ip),
            ports: PortMapping::parse("8080:80").unwrap(),
            dns: vec![IpAddr::from([10, 0, 2, 3])],
        };
        let json = serde_json::to_string(&attachment).unwrap();
        assert_eq!(
            json,
            r#"{"id":"web","ip":"10.88.0.2","prefix":16,"gateway":"10.88.0.1","mac":"02:53:0a:58:00:02","ports":[{"host_ip":null,"host_port":8080,"container_port":80,"protocol":"tcp"}],"dns":["10.0.2.3"]}"#
        );
        assert_eq!(
            serde_json::from_str::<Attachment>(&json).unwrap(),
            attachment
        );
    }
}
