//! Published ports as people write them: `8080:80`, `127.0.0.1:5300:53/udp`, `8000-8002:80-82`, `80`.
//!
//! Never looks whether a port is free: that is [`super::claims`].

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The default.
    Tcp,
    /// `/udp`.
    Udp,
}

/// One port of the host that leads to one port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address it is published on; `None` is all of them.
    pub host_ip: Option<Ipv4Addr>,
    /// The host's port; 0 asks for any free one.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// The transport.
    pub protocol: Protocol,
}

/// What is wrong with a published port as written.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("published port {text:?}: {reason}")]
pub struct PortSyntaxError {
    text: String,
    reason: String,
}

impl PortMapping {
    /// Reads `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`; a range yields one mapping per port.
    pub fn parse(text: &str) -> Result<Vec<PortMapping>, PortSyntaxError> {
        read(text).map_err(|reason| PortSyntaxError {
            text: text.to_owned(),
            reason,
        })
    }
}

fn read(text: &str) -> Result<Vec<PortMapping>, String> {
    let (ports, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => return Err(format!("expected protocol tcp or udp, got {other:?}")),
    };
    if ports.contains('[') {
        return Err("expected an IPv4 address: publishing on IPv6 is not supported".to_owned());
    }
    let fields: Vec<&str> = ports.split(':').collect();
    let (address, host, container) = match fields[..] {
        [container] => (None, None, range(container)?),
        [host, container] => (None, Some(host), range(container)?),
        [address, host, container] => (address_of(address)?, Some(host), range(container)?),
        _ => return Err("expected [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]".to_owned()),
    };
    let host = match host {
        None | Some("") => None,
        Some(host) => Some(range(host)?),
    };
    pair(host, container)?
        .map(|(host_port, container_port)| {
            Ok(PortMapping {
                host_ip: address,
                host_port,
                container_port,
                protocol,
            })
        })
        .collect()
}

type Range = std::ops::RangeInclusive<u16>;

fn pair(
    host: Option<Range>,
    container: Range,
) -> Result<Box<dyn Iterator<Item = (u16, u16)>>, String> {
    let Some(host) = host else {
        return Ok(Box::new(container.map(|port| (0, port))));
    };
    if host.len() != container.len() {
        return Err(format!(
            "expected ranges of equal length, got {} and {} ports",
            host.len(),
            container.len()
        ));
    }
    Ok(Box::new(host.zip(container)))
}

fn address_of(text: &str) -> Result<Option<Ipv4Addr>, String> {
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| format!("expected an IPv4 address, got {text:?}"))?;
    Ok(Some(address).filter(|address| !address.is_unspecified()))
}

fn range(text: &str) -> Result<Range, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("expected a rising range, got {text}"));
    }
    Ok(first..=last)
}

fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits {
        text.parse().ok().filter(|port| *port != 0)
    } else {
        None
    };
    port.ok_or_else(|| format!("expected a port from 1 to 65535, got {text:?}"))
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// As `docker ps` and `podman ps` show it: `0.0.0.0:8080->80/tcp`.
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        write!(
            f,
            "{address}:{}->{}/{}",
            self.host_port, self.container_port, self.protocol
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        PortMapping::parse(text)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_docker_and_quadlet_accept_is_read() {
        assert_eq!(shown("8080:80"), ["0.0.0.0:8080->80/tcp"]);
        assert_eq!(shown("127.0.0.1:5300:53/udp"), ["127.0.0.1:5300->53/udp"]);
        assert_eq!(shown("0.0.0.0:8080:80/tcp"), ["0.0.0.0:8080->80/tcp"]);
        assert_eq!(shown("80"), ["0.0.0.0:0->80/tcp"]);
        assert_eq!(shown("127.0.0.1::80"), ["127.0.0.1:0->80/tcp"]);
        assert_eq!(
            shown("8000-8001:80-81"),
            ["0.0.0.0:8000->80/tcp", "0.0.0.0:8001->81/tcp"]
        );
        assert_eq!(shown("65535:65535").len(), 1);
        assert_eq!(PortMapping::parse("0.0.0.0:1:1").unwrap()[0].host_ip, None);
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, said) in [
            ("", "got \"\""),
            ("web", "got \"web\""),
            ("0:80", "got \"0\""),
            ("8080:65536", "got \"65536\""),
            ("+80", "got \"+80\""),
            ("8080:80/sctp", "got \"sctp\""),
            ("localhost:8080:80", "got \"localhost\""),
            ("[::1]:8080:80", "IPv6"),
            ("8000-8002:80", "3 and 1 ports"),
            ("8002-8000:80-82", "rising"),
            ("1:2:3:4", "[[ADDRESS:]HOST:]CONTAINER"),
        ] {
            let error = PortMapping::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[-0-9:./\\[\\]a-z]{0,24}") {
            let _ = PortMapping::parse(&text);
        }

        #[test]
        fn what_is_written_out_reads_back(a in 1u16.., b in 1u16.., udp: bool, ip in any::<[u8; 4]>()) {
            let ip = Ipv4Addr::from(ip);
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let read = PortMapping::parse(&format!("{ip}:{a}:{b}/{protocol}")).unwrap();
            let host_ip = Some(ip).filter(|ip| !ip.is_unspecified());
            prop_assert_eq!(read, [PortMapping { host_ip, host_port: a, container_port: b, protocol }]);
        }
    }
}
