//! What the daemon learnt, as files: `/run/skeg/net/network.json` and `/run/skeg/net/resolv.conf`.
//!
//! The texts are pure; written whole or not at all, readable by everybody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::dhcp::lease::Lease;

/// The version of `network.json`: a reader refuses what is newer.
pub const VERSION: u32 = 1;

/// The host's network, as in `network.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// [`VERSION`].
    pub version: u32,
    /// The physical links by index.
    pub links: BTreeMap<u32, Link>,
}

/// A physical link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its link address, as six hex pairs.
    pub mac: String,
    /// Whether something is plugged in.
    pub carrier: bool,
    /// What a DHCP server granted.
    pub lease: Option<Lease>,
    /// Why the kernel did not take what was granted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            version: VERSION,
            links: BTreeMap::new(),
        }
    }
}

impl Network {
    /// `resolv.conf`: the servers and domains of all leases, links in order of their index.
    pub fn resolv_conf(&self) -> String {
        let mut text = String::from("# written by the daemon net from what DHCP servers said\n");
        let search = distinct(self.leases().flat_map(|lease| lease.search.iter().cloned()));
        if !search.is_empty() {
            let _ = writeln!(text, "search {}", search.join(" "));
        }
        for server in distinct(self.leases().flat_map(|lease| lease.dns.iter().copied())) {
            let _ = writeln!(text, "nameserver {server}");
        }
        text
    }

    /// One line for the supervisor's status.
    pub fn summary(&self) -> String {
        let state = |link: &Link| match (&link.lease, link.carrier) {
            (Some(lease), _) => format!("{} {}/{}", link.name, lease.address, lease.prefix),
            (None, true) => format!("{} waiting for a DHCP server", link.name),
            (None, false) => format!("{} without carrier", link.name),
        };
        let link = |link: &Link| match &link.trouble {
            Some(trouble) => format!("{}, {trouble}; tried again", state(link)),
            None => state(link),
        };
        let links: Vec<String> = self.links.values().map(link).collect();
        if links.is_empty() {
            "no ethernet link".to_owned()
        } else {
            links.join(", ")
        }
    }

    /// Whether any link has an address.
    pub fn is_online(&self) -> bool {
        self.leases().next().is_some()
    }

    /// The addresses of all leases.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.leases().map(|lease| lease.address)
    }

    /// Writes both files into `folder`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        replace(&folder.join("network.json"), &json)?;
        replace(&folder.join("resolv.conf"), self.resolv_conf().as_bytes())
    }

    fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.links.values().filter_map(|link| link.lease.as_ref())
    }
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// No fsync: the folder is in memory and gone with the kernel.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("write {}: {error}", path.display()))
    };
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)
        .map_err(named)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(named)?;
    file.write_all(bytes).map_err(named)?;
    fs::rename(&new, path).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::super::dhcp::lease::Route;
    use super::*;

    fn link(name: &str, dns: [u8; 4], search: &str) -> Link {
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: vec![Route {
                to: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                via: Some(Ipv4Addr::new(10, 0, 2, 2)),
            }],
            dns: vec![dns.into(), Ipv4Addr::new(10, 0, 2, 3)],
            search: vec![search.to_owned()],
            ntp: Vec::new(),
            mtu: None,
            hostname: None,
            server: Ipv4Addr::new(10, 0, 2, 2),
            seconds: Some(86400),
            renew_after: 43200,
            rebind_after: 75600,
        };
        let mac = "52:54:00:12:34:56".to_owned();
        Link {
            name: name.to_owned(),
            mac,
            carrier: true,
            lease: Some(lease),
            trouble: None,
        }
    }

    fn two_links() -> Network {
        let links = [
            (3, link("eth1", [9, 9, 9, 9], "b.example")),
            (2, link("eth0", [1, 1, 1, 1], "a.example")),
        ];
        Network {
            version: VERSION,
            links: links.into_iter().collect(),
        }
    }

    #[test]
    fn servers_and_domains_of_all_links_are_listed_once() {
        assert_eq!(
            two_links().resolv_conf(),
            "# written by the daemon net from what DHCP servers said\nsearch a.example b.example\n\
             nameserver 1.1.1.1\nnameserver 10.0.2.3\nnameserver 9.9.9.9\n"
        );
    }

    #[test]
    fn the_file_reads_back_and_is_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        two_links().write(folder.path()).unwrap();
        two_links().write(folder.path()).unwrap();
        let path = folder.path().join("network.json");
        let read: Network = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, two_links());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn golden_bytes() {
        let mut network = two_links();
        network.links.remove(&3);
        let json = serde_json::to_string(&network).unwrap();
        assert_eq!(
            json,
            r#"{"version":1,"links":{"2":{"name":"eth0","mac":"52:54:00:12:34:56","carrier":true,"lease":{"address":"10.0.2.15","prefix":24,"routes":[{"to":"0.0.0.0","prefix":0,"via":"10.0.2.2"}],"dns":["1.1.1.1","10.0.2.3"],"search":["a.example"],"ntp":[],"mtu":null,"hostname":null,"server":"10.0.2.2","seconds":86400,"renew_after":43200,"rebind_after":75600}}}}"#
        );
    }

    #[test]
    fn the_status_says_what_is_waited_for() {
        let mut network = two_links();
        assert_eq!(network.summary(), "eth0 10.0.2.15/24, eth1 10.0.2.15/24");
        network.links.get_mut(&3).unwrap().lease = None;
        network.links.get_mut(&2).unwrap().lease = None;
        network.links.get_mut(&2).unwrap().carrier = false;
        assert_eq!(
            network.summary(),
            "eth0 without carrier, eth1 waiting for a DHCP server"
        );
        assert!(!network.is_online());
    }

    #[test]
    fn what_the_kernel_refuses_is_in_the_status() {
        let mut network = Network::default();
        let trouble = Some("cannot set 10.0.0.2: no memory".to_owned());
        let mut refused = link("eth0", [10, 0, 0, 1], "");
        (refused.lease, refused.trouble) = (None, trouble);
        network.links.insert(2, refused);
        assert_eq!(
            network.summary(),
            "eth0 waiting for a DHCP server, cannot set 10.0.0.2: no memory; tried again"
        );
    }
}
