//! The text of a container's `/etc/hosts` and `/etc/hostname`.
//!
//! Writes no file: the engine decides where the text goes.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// `/etc/hosts`: loopback, the container under its own names at each of its addresses, then `extra` (`--add-host`).
pub fn hosts(ips: &[Ipv4Addr], names: &[&str], extra: &[(String, IpAddr)]) -> String {
    let mut text =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if !names.is_empty() {
        let own = if ips.is_empty() {
            &[Ipv4Addr::LOCALHOST]
        } else {
            ips
        };
        for ip in own {
            let _ = writeln!(text, "{ip}\t{}", names.join(" "));
        }
    }
    for (name, ip) in extra {
        let _ = writeln!(text, "{ip}\t{name}");
    }
    text
}

/// `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_finds_itself_and_what_was_added() {
        let extra = [("db".to_owned(), IpAddr::from([10, 88, 0, 9]))];
        let text = hosts(&[Ipv4Addr::new(10, 88, 0, 2)], &["web", "3f2a"], &extra);
        assert_eq!(
            text,
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.88.0.2\tweb 3f2a\n10.88.0.9\tdb\n"
        );
    }

    #[test]
    fn without_an_address_the_name_means_loopback() {
        assert!(hosts(&[], &["web"], &[]).ends_with("127.0.0.1\tweb\n"));
    }
}
