//! What is kept of a network: all that makes it, and nothing that changes while it is used.
//!
//! [`NetworkRecord`] is what the engine persists, so its fields only ever grow.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::pool::Pool;
use super::subnet::Subnet;

/// Version of the record. Others are refused.
pub const FORMAT: u32 = 1;

/// The id of the default bridge, which every host has.
pub const DEFAULT_ID: &str = "33df8d075dd94dc6c691e61899f0db521570ad69ca9b193f7156a9c9869ca659";
/// The default bridge's name.
pub const DEFAULT_NAME: &str = "bridge";
/// The default bridge's link.
pub const DEFAULT_LINK: &str = "skeg0";

/// A network that containers are attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, unique.
    pub name: String,
    /// When it was created, nanoseconds since the epoch.
    pub created_ns: u64,
    /// Its addresses.
    pub subnet: Subnet,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Addresses are given from here; from the whole subnet when absent.
    #[serde(default)]
    pub range: Option<Subnet>,
    /// Addresses that are never given, by the name that the user gave them.
    #[serde(default)]
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Nothing is routed to or from it.
    #[serde(default)]
    pub internal: bool,
    /// What leaves it has the host's address.
    pub masquerade: bool,
    /// Bytes of the longest packet on its links; the kernel's default when absent.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The bridge's link.
    pub link: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options as the user wrote them.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl NetworkRecord {
    /// The default bridge, which needs no file.
    pub fn default_bridge() -> NetworkRecord {
        NetworkRecord {
            format: FORMAT,
            id: DEFAULT_ID.to_owned(),
            name: DEFAULT_NAME.to_owned(),
            created_ns: 0,
            subnet: Subnet::DEFAULT,
            gateway: Subnet::DEFAULT.gateway(),
            range: None,
            reserved: BTreeMap::new(),
            internal: false,
            masquerade: true,
            mtu: None,
            link: DEFAULT_LINK.to_owned(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }

    /// Whether it is the default bridge: there, names are not served and nobody can leave it for good.
    pub fn is_default(&self) -> bool {
        self.id == DEFAULT_ID
    }

    /// Its addresses.
    pub fn pool(&self) -> Pool {
        Pool {
            subnet: self.subnet,
            gateway: self.gateway,
            range: self.range,
            reserved: self.reserved.values().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let record = NetworkRecord {
            id: "ab".to_owned(),
            name: "back".to_owned(),
            created_ns: 7,
            subnet: "10.90.0.0/24".parse().unwrap(),
            gateway: Ipv4Addr::new(10, 90, 0, 1),
            internal: true,
            link: "skbab".to_owned(),
            ..NetworkRecord::default_bridge()
        };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(
            json,
            r#"{"format":1,"id":"ab","name":"back","created_ns":7,"subnet":"10.90.0.0/24","gateway":"10.90.0.1","range":null,"reserved":{},"internal":true,"masquerade":true,"mtu":null,"link":"skbab","labels":{},"options":{}}"#
        );
        let least = r#"{"format":1,"id":"ab","name":"back","created_ns":7,"subnet":"10.90.0.0/24","gateway":"10.90.0.1","internal":true,"masquerade":true,"link":"skbab"}"#;
        for text in [json.as_str(), least] {
            assert_eq!(serde_json::from_str::<NetworkRecord>(text).unwrap(), record);
        }
    }
}
