//! The text of a container's `/etc/resolv.conf`, made from the host's.
//!
//! Never hands on a server on the host's loopback: in a container it would be the container itself.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Asked when neither the host nor the container names a usable server.
pub const FALLBACK: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9)),
];

/// `resolv.conf` for a container in a network namespace of its own.
///
/// The host's search domains and options are kept; its servers too, unless they are on loopback
/// or IPv6 (which containers do not have), or unless `servers` (`--dns`) names others.
pub fn resolv_conf(host: &str, servers: &[IpAddr]) -> String {
    let mut text = String::new();
    for line in host
        .lines()
        .filter(|line| matches!(keyword(line), "search" | "domain" | "options"))
    {
        let _ = writeln!(text, "{}", line.trim());
    }
    let chosen = if servers.is_empty() {
        usable_servers(host)
    } else {
        servers.to_vec()
    };
    for server in chosen {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// The host's servers that a container can reach; [`FALLBACK`] if there are none.
pub fn usable_servers(host: &str) -> Vec<IpAddr> {
    let servers: Vec<IpAddr> = host
        .lines()
        .filter(|line| keyword(line) == "nameserver")
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .filter(|server: &IpAddr| {
            server.is_ipv4() && !server.is_loopback() && !server.is_unspecified()
        })
        .collect();
    if servers.is_empty() {
        FALLBACK.to_vec()
    } else {
        servers
    }
}

fn keyword(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# by the host\nsearch lan example.org\nnameserver 127.0.0.53\nnameserver 10.0.2.3\n\
                        nameserver fe80::1%eth0\nnameserver ::1\noptions ndots:2\n";

    #[test]
    fn reachable_servers_search_domains_and_options_are_handed_on() {
        assert_eq!(
            resolv_conf(HOST, &[]),
            "search lan example.org\noptions ndots:2\nnameserver 10.0.2.3\n"
        );
    }

    #[test]
    fn servers_of_the_containers_own_replace_the_hosts() {
        let own = [IpAddr::from([192, 0, 2, 1])];
        assert_eq!(
            resolv_conf(HOST, &own),
            "search lan example.org\noptions ndots:2\nnameserver 192.0.2.1\n"
        );
    }

    #[test]
    fn with_loopback_servers_only_the_fallback_is_asked() {
        let text = resolv_conf("nameserver 127.0.0.1\n", &[]);
        assert_eq!(text, "nameserver 1.1.1.1\nnameserver 9.9.9.9\n");
    }
}
