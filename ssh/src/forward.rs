//! Where a forwarded connection may lead, and the connection itself.
//!
//! What a key may open is said by its `permitopen=`, else by its user: who has the engine reaches the
//! host itself and its containers, others nothing. No name is resolved, no port is listened on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::grant::Network;
use crate::people::Person;

/// Sockets that who has the engine may forward to.
const SOCKETS: [&str; 2] = [formats::paths::DOCKER_SOCKET, formats::paths::ENGINE_SOCKET];

/// Where `host:port` leads for this person.
///
/// # Errors
/// Why it may not be opened, and what would allow it.
pub fn to_address(
    person: &Person,
    host: &str,
    port: u32,
    containers: &[Network],
) -> Result<SocketAddr, String> {
    let port = u16::try_from(port).map_err(|_| format!("no port {port}"))?;
    if !person.grant.forwards {
        return Err("the key forbids to forward ports".to_owned());
    }
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => text
            .parse::<IpAddr>()
            .map_err(|_| format!("{text}: write an address or localhost, names are not resolved"))?
            .to_canonical(),
    };
    let allowed = match person.grant.opens.as_slice() {
        [] => person.is_admin && (address.is_loopback() || is_in(containers, address)),
        opens => opens.iter().any(|open| {
            let same = |wanted: &str| {
                wanted == host
                    || wanted
                        .parse::<IpAddr>()
                        .is_ok_and(|wanted| wanted == address)
            };
            open.host.as_deref().is_none_or(same) && open.port.is_none_or(|p| p == port)
        }),
    };
    match allowed {
        true => Ok(SocketAddr::new(address, port)),
        false => Err(format!(
            "{address}:{port} is neither this host nor one of its containers: permitopen=\"{address}:{port}\" before the key allows it"
        )),
    }
}

/// Whether the person may forward to this socket.
///
/// # Errors
/// Why not.
pub fn to_socket(person: &Person, path: &str) -> Result<(), String> {
    if !person.grant.forwards || !person.grant.opens.is_empty() || !person.is_admin {
        return Err(format!("{path}: the key or its user may not"));
    }
    match SOCKETS.contains(&path) {
        true => Ok(()),
        false => Err(format!("{path}: expected {}", SOCKETS.join(" or "))),
    }
}

fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// Networks of containers: what `/proc/net/route` leads to over a bridge.
#[must_use]
pub fn container_networks(routes: &str, is_bridge: impl Fn(&str) -> bool) -> Vec<Network> {
    let network = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, to, via, _, _, _, _, mask, ..] = fields.as_slice() else {
            return None;
        };
        if *via != "00000000" || !is_bridge(device) {
            return None;
        }
        let number = |text| u32::from_str_radix(text, 16).map(u32::swap_bytes).ok();
        let (to, mask) = (number(to)?, number(mask)?);
        Network::parse(&format!(
            "{}/{}",
            Ipv4Addr::from_bits(to),
            mask.leading_ones()
        ))
    };
    routes.lines().filter_map(network).collect()
}

/// The networks of this host's containers, now.
#[must_use]
pub fn of_this_host() -> Vec<Network> {
    let routes = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    container_networks(&routes, |device| {
        std::path::Path::new("/sys/class/net")
            .join(device)
            .join("bridge")
            .is_dir()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const ROUTES: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
skeg0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
";

    fn person(is_admin: bool, options: &str) -> Person {
        Person {
            name: "ann".to_owned(),
            is_admin,
            grant: grant::parse(format!("{options} {KEY}").trim()).unwrap(),
        }
    }

    fn may(person: &Person, host: &str, port: u32) -> bool {
        let containers = container_networks(ROUTES, |device| device == "skeg0");
        to_address(person, host, port, &containers).is_ok()
    }

    #[test]
    fn the_host_and_its_containers_are_reached_and_no_one_behind() {
        let ann = person(true, "");
        for host in [
            "localhost",
            "127.0.0.1",
            "::1",
            "10.88.3.4",
            "::ffff:10.88.3.4",
        ] {
            assert!(may(&ann, host, 80), "{host}");
        }
        // The host's own network, the metadata service of a cloud, the world, names.
        for host in [
            "10.0.2.2",
            "169.254.169.254",
            "203.0.113.1",
            "example.org",
            "*",
            "",
        ] {
            assert!(!may(&ann, host, 80), "{host}");
        }
        assert!(!may(&ann, "localhost", 65_536));
    }

    #[test]
    fn who_may_only_look_reaches_nothing_but_what_the_key_says() {
        assert!(!may(&person(false, ""), "localhost", 80));
        let bob = person(
            false,
            r#"permitopen="10.0.2.9:5432",permitopen="localhost:*""#,
        );
        assert!(may(&bob, "10.0.2.9", 5432) && may(&bob, "localhost", 1));
        assert!(!may(&bob, "10.0.2.9", 80) && !may(&bob, "10.88.3.4", 80));
    }

    #[test]
    fn the_key_s_limits_hold_for_everybody() {
        let ann = person(true, r#"permitopen="127.0.0.1:80""#);
        assert!(may(&ann, "127.0.0.1", 80));
        assert!(!may(&ann, "127.0.0.1", 81) && !may(&ann, "10.88.3.4", 80));
        assert!(!may(&person(true, "restrict"), "localhost", 80));
        assert!(to_socket(&ann, "/run/docker.sock").is_err());
        assert!(to_socket(&person(true, "no-port-forwarding"), "/run/docker.sock").is_err());
    }

    #[test]
    fn two_sockets_are_there_for_those_who_have_the_engine() {
        assert!(to_socket(&person(true, ""), "/run/docker.sock").is_ok());
        assert!(to_socket(&person(true, ""), "/run/skeg/init.sock").is_err());
        assert!(to_socket(&person(true, ""), "/run/skeg/../docker.sock").is_err());
        assert!(to_socket(&person(false, ""), "/run/docker.sock").is_err());
    }
}
