//! `.network` units: what a network is to be.
//!
//! It reads values; whether addresses are free shows when the network is made.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::container;
use crate::engine::options::NetworkJoin;
use crate::engine::values;
use crate::network::Subnet;

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name in the engine.
    pub name: String,
    /// Its addresses; free ones are chosen when absent.
    pub subnet: Option<Subnet>,
    /// The bridge's address; the first one when absent.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses are given from here.
    pub range: Option<Subnet>,
    /// Nothing is routed to or from it.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
}

impl Network {
    /// Of `NAME.network`, before its lines are read.
    pub fn of(stem: &str) -> Self {
        Self {
            name: format!("systemd-{stem}"),
            ..Self::default()
        }
    }

    /// Takes one key of `[Network]`.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn assign(&mut self, key: &str, value: &str) -> Result<(), String> {
        let address = || {
            let wrong = |_| format!("expected an IPv4 address, found '{value}'");
            value.parse().map_err(wrong)
        };
        let none = value.is_empty();
        match key {
            "NetworkName" => self.name = values::volume_name(value)?,
            "Driver" if value == "bridge" => {}
            "Driver" => return Err(format!("expected bridge, found '{value}'")),
            "IPAMDriver" if value == "host-local" => {}
            "IPAMDriver" => return Err(format!("expected host-local, found '{value}'")),
            "Subnet" if none => self.subnet = None,
            "Subnet" if self.subnet.is_some() => {
                return Err("a network has one subnet here".into());
            }
            "Subnet" => self.subnet = Some(value.parse()?),
            "Gateway" => self.gateway = Some(address()?),
            "IPRange" => self.range = Some(value.parse()?),
            "Internal" => self.internal = values::boolean(value)?,
            "IPv6" if values::boolean(value)? => {
                return Err("networks have IPv4 only".into());
            }
            "DisableDNS" if values::boolean(value)? => {
                return Err("names of containers are always answered".into());
            }
            "IPv6" | "DisableDNS" => {}
            "Label" => container::pairs(&mut self.labels, value)?,
            "Options" => self.option(value)?,
            "InterfaceName" => {
                let key = "com.docker.network.bridge.name".to_owned();
                self.options.insert(key, value.to_owned());
            }
            _ => return Err(container::unhandled()),
        }
        Ok(())
    }

    fn option(&mut self, value: &str) -> Result<(), String> {
        let (key, set) = values::pair(value)?;
        if key != "mtu" && !key.starts_with("com.docker.network.") {
            return Err(format!("option '{key}' is not supported, only mtu is"));
        }
        self.options.insert(key, set);
        Ok(())
    }
}

/// What stands behind a network's name: `ip=ADDRESS`, `alias=NAME`.
///
/// # Errors
/// Anything else, and anything at all where there is no network to be addressed on.
pub fn join_options(join: Option<&mut NetworkJoin>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let join = join.ok_or("options need a network of its own")?;
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("ip", address)) => {
                let wrong = |_| format!("expected an IPv4 address, found '{address}'");
                join.ip = Some(address.parse().map_err(wrong)?);
            }
            Some(("alias", name)) => join.aliases.push(values::volume_name(name)?),
            _ => return Err(format!("expected ip=ADDRESS or alias=NAME, found '{part}'")),
        }
    }
    Ok(())
}
