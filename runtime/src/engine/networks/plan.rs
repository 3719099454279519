//! From what somebody wants a network to be to what it is.
//!
//! Pure: what is in use already is an argument.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::engine::error::Error;
use crate::engine::{clock, values};
use crate::network::record::FORMAT;
use crate::network::{NetworkRecord, Subnet, choose};

/// What somebody wants a network to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty.
    pub driver: String,
    /// Its addresses; free ones are chosen when absent.
    pub subnet: Option<Subnet>,
    /// The bridge's address; the first one when absent.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses are given from here.
    pub range: Option<Subnet>,
    /// Never given.
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Nothing is routed to or from it.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options, as docker's bridge driver names them.
    pub options: BTreeMap<String, String>,
}

/// From a wish to a record. Addresses that somebody named may meet the host's own routes, but not
/// those of another network (`used`); those that are chosen meet neither (`taken`).
pub(super) fn plan(
    wish: Wish,
    taken: &[Subnet],
    used: &[Subnet],
    id: String,
) -> Result<NetworkRecord, Error> {
    if !matches!(wish.driver.as_str(), "" | "bridge" | "default") {
        return Err(Error::invalid(format!(
            "network driver '{}' is not there: expected bridge",
            wish.driver
        )));
    }
    let subnet = match wish.subnet {
        Some(subnet) => subnet,
        None => choose::subnet(taken).ok_or_else(|| {
            Error::failed(
                "no free network between 10.89.0.0 and 10.255.255.0: name one with --subnet",
            )
        })?,
    };
    if let Some(other) = used.iter().find(|used| used.overlaps(&subnet)) {
        return Err(Error {
            status: 403,
            ..Error::conflict(format!(
                "invalid pool request: Pool overlaps with other one on this address space: {subnet} meets {other}"
            ))
        });
    }
    let gateway = wish.gateway.unwrap_or_else(|| subnet.gateway());
    let inside = wish.reserved.values().chain([&gateway]);
    if let Some(outside) = inside.into_iter().find(|ip| !subnet.is_for_machines(**ip)) {
        return Err(Error::invalid(format!(
            "address {outside}: expected one in {subnet}"
        )));
    }
    if let Some(range) = wish.range.filter(|range| !subnet.covers(range)) {
        return Err(Error::invalid(format!(
            "range {range}: expected one in {subnet}"
        )));
    }
    let options = read_options(&wish.options)?;
    Ok(NetworkRecord {
        format: FORMAT,
        link: options.link.unwrap_or_else(|| format!("skb{}", &id[..12])),
        id,
        name: wish.name,
        created_ns: clock::wall_ns(),
        subnet,
        gateway,
        range: wish.range,
        reserved: wish.reserved,
        internal: wish.internal,
        masquerade: options.masquerade,
        mtu: options.mtu,
        labels: wish.labels,
        options: wish.options,
    })
}

struct Options {
    link: Option<String>,
    masquerade: bool,
    mtu: Option<u32>,
}

/// Those of docker's bridge driver that mean something here; all others are refused by name.
fn read_options(options: &BTreeMap<String, String>) -> Result<Options, Error> {
    let mut read = Options {
        link: None,
        masquerade: true,
        mtu: None,
    };
    for (key, value) in options {
        let wrong = |expected: &str| {
            Error::invalid(format!(
                "network option {key}: expected {expected}, found '{value}'"
            ))
        };
        match key.as_str() {
            "com.docker.network.driver.mtu" | "mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (576..=65535).contains(mtu));
                read.mtu = Some(mtu.ok_or_else(|| wrong("a number from 576 to 65535"))?);
            }
            "com.docker.network.bridge.name" => {
                read.link = Some(link_name(value).ok_or_else(|| {
                    wrong("at most 15 letters, digits, '-', '_' or '.', not beginning with skv or skeg")
                })?);
            }
            "com.docker.network.bridge.enable_ip_masquerade" => {
                read.masquerade = values::boolean(value).map_err(|_| wrong("true or false"))?;
            }
            "com.docker.network.bridge.enable_icc" => {
                if !values::boolean(value).map_err(|_| wrong("true or false"))? {
                    return Err(wrong("true: containers of one network reach each other"));
                }
            }
            _ => return Err(Error::invalid(format!("network option {key} is not there"))),
        }
    }
    Ok(read)
}

fn link_name(name: &str) -> Option<String> {
    let is_ours = name.starts_with("skv") || name.starts_with("skeg");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_good = (1..=15).contains(&name.len()) && name.chars().all(is_plain);
    (is_good && !is_ours && name != "." && name != "..").then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(change: impl FnOnce(&mut Wish)) -> Result<NetworkRecord, Error> {
        let mut wish = Wish {
            name: "back".into(),
            ..Wish::default()
        };
        change(&mut wish);
        let used = [
            "10.88.0.0/16".parse().unwrap(),
            "172.30.0.0/24".parse().unwrap(),
        ];
        let mut taken = used.to_vec();
        taken.push("10.89.0.0/16".parse().unwrap());
        plan(wish, &taken, &used, "0123456789abcdef".into())
    }

    #[test]
    fn what_is_not_said_is_chosen() {
        let record = wish(|_| {}).unwrap();
        assert_eq!(record.subnet.to_string(), "10.90.0.0/24");
        assert_eq!(record.gateway, Ipv4Addr::new(10, 90, 0, 1));
        assert_eq!(record.link, "skb0123456789ab");
        assert!(record.masquerade && record.mtu.is_none());
    }

    #[test]
    fn what_is_said_is_taken() {
        let record = wish(|w| {
            w.subnet = "10.89.4.0/24".parse().ok();
            w.gateway = Some(Ipv4Addr::new(10, 89, 4, 254));
            w.range = "10.89.4.128/25".parse().ok();
            w.options = BTreeMap::from([
                ("com.docker.network.driver.mtu".into(), "1400".into()),
                ("com.docker.network.bridge.name".into(), "br-x".into()),
                (
                    "com.docker.network.bridge.enable_ip_masquerade".into(),
                    "false".into(),
                ),
            ]);
        });
        let record = record.unwrap();
        assert_eq!((record.mtu, record.link.as_str()), (Some(1400), "br-x"));
        assert!(!record.masquerade);
        assert_eq!(record.gateway.octets()[3], 254);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let option = |key: &str, value: &str| {
            let options = BTreeMap::from([(key.to_string(), value.to_string())]);
            wish(|w| w.options = options).unwrap_err().message
        };
        let subnet = |text: &str| text.parse().ok();
        for (error, named) in [
            (
                wish(|w| w.driver = "overlay".into()).unwrap_err().message,
                "overlay",
            ),
            (
                wish(|w| w.subnet = subnet("172.30.0.128/25"))
                    .unwrap_err()
                    .message,
                "172.30.0.0/24",
            ),
            (
                wish(|w| w.range = subnet("10.1.0.0/24"))
                    .unwrap_err()
                    .message,
                "10.1.0.0/24",
            ),
            (
                wish(|w| w.gateway = Some(Ipv4Addr::new(10, 1, 0, 1)))
                    .unwrap_err()
                    .message,
                "10.1.0.1",
            ),
            (option("com.docker.network.driver.mtu", "9"), "576"),
            (option("com.docker.network.bridge.name", "skv0"), "skv"),
            (
                option("com.docker.network.bridge.enable_icc", "false"),
                "enable_icc",
            ),
            (option("parent", "eth0"), "parent"),
        ] {
            assert!(error.contains(named), "{error}");
        }
    }
}
