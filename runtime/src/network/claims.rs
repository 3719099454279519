//! Which container holds which port of the host.
//!
//! Pure bookkeeping: whether another program of the host listens on a port is found at the edge.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use thiserror::Error;

use super::port::{PortMapping, Protocol};

/// A published port that is held already.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("publish {wanted}: port {}/{} of the host is held by {holder}: stop it or publish on another port", wanted.host_port, wanted.protocol)]
pub struct PortTaken {
    /// What was asked for.
    pub wanted: PortMapping,
    /// A container's id, or what is known of a program that is none.
    pub holder: String,
}

/// An address (`None` is all of them) and a container's id.
type Holder = (Option<Ipv4Addr>, String);

/// The published ports of all containers.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    held: BTreeMap<(Protocol, u16), Vec<Holder>>,
}

impl Claims {
    /// Gives `ports` to `id`: all of them, or none and the first conflict.
    pub fn claim(&mut self, id: &str, ports: &[PortMapping]) -> Result<(), PortTaken> {
        for (index, port) in ports.iter().enumerate() {
            if let Some(holder) = self.holder(port) {
                let holder = format!("container {holder}");
                self.withdraw(id, &ports[..index]);
                return Err(PortTaken {
                    wanted: *port,
                    holder,
                });
            }
            let key = (port.protocol, port.host_port);
            self.held
                .entry(key)
                .or_default()
                .push((port.host_ip, id.to_owned()));
        }
        Ok(())
    }

    /// Frees all ports of `id`.
    pub fn release(&mut self, id: &str) {
        self.held.retain(|_, holders| {
            holders.retain(|(_, holder)| holder != id);
            !holders.is_empty()
        });
    }

    fn withdraw(&mut self, id: &str, ports: &[PortMapping]) {
        for port in ports {
            if let Some(holders) = self.held.get_mut(&(port.protocol, port.host_port)) {
                holders.retain(|(ip, holder)| !(holder == id && *ip == port.host_ip));
            }
        }
    }

    /// Who holds `port`: the same address, or one of the two on all addresses.
    fn holder(&self, port: &PortMapping) -> Option<&str> {
        let holders = self.held.get(&(port.protocol, port.host_port))?;
        let meets =
            |ip: &Option<Ipv4Addr>| ip.is_none() || port.host_ip.is_none() || *ip == port.host_ip;
        holders
            .iter()
            .find(|(ip, _)| meets(ip))
            .map(|(_, id)| id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Vec<PortMapping> {
        PortMapping::parse(text).unwrap()
    }

    #[test]
    fn a_conflict_names_the_port_and_its_holder() {
        let mut claims = Claims::default();
        claims.claim("web", &ports("8080:80")).unwrap();
        let error = claims
            .claim("db", &ports("127.0.0.1:8080:5432"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("8080/tcp") && error.contains("container web"),
            "{error}"
        );
    }

    #[test]
    fn other_protocols_and_other_addresses_do_not_conflict() {
        let mut claims = Claims::default();
        claims.claim("a", &ports("127.0.0.1:53:53")).unwrap();
        claims.claim("b", &ports("127.0.0.1:53:53/udp")).unwrap();
        claims.claim("c", &ports("127.0.0.2:53:53")).unwrap();
        assert!(claims.claim("d", &ports("53:53")).is_err());
    }

    #[test]
    fn a_refused_claim_leaves_nothing_behind() {
        let mut claims = Claims::default();
        claims.claim("web", &ports("81:81")).unwrap();
        assert!(claims.claim("db", &ports("80-82:80-82")).is_err());
        claims.claim("other", &ports("80:80")).unwrap();
        claims.claim("other", &ports("82:82")).unwrap();
        claims.release("web");
        claims.claim("db", &ports("81:81")).unwrap();
    }

    #[test]
    fn a_port_asked_for_twice_by_one_container_is_a_conflict() {
        let twice = [ports("80:80"), ports("80:81")].concat();
        assert!(Claims::default().claim("web", &twice).is_err());
    }
}
