//! One network as it stands: its record, its addresses, and its bridge once there is one.
//!
//! The bridge is made when the first container needs it, and stays until the network goes.

use super::super::dns;
use super::super::ipam::Ipam;
use super::super::record::NetworkRecord;
use super::super::ruleset::Bridge;

/// A network and what it holds.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) record: NetworkRecord,
    pub(super) addresses: Ipam,
    /// The bridge's index, once it is known to be there.
    pub(super) bridge: Option<u32>,
    /// Serves its names, while there is a bridge.
    pub(super) server: Option<dns::Server>,
}

impl Net {
    pub(super) fn new(record: NetworkRecord) -> Net {
        Net {
            addresses: Ipam::new(record.pool()),
            record,
            bridge: None,
            server: None,
        }
    }

    /// What the rules say of it; nothing as long as there is no bridge.
    pub(super) fn for_rules(&self) -> Option<Bridge> {
        self.bridge?;
        Some(Bridge {
            link: self.record.link.clone(),
            subnet: self.record.subnet,
            gateway: self.record.gateway,
            internal: self.record.internal,
            masquerade: self.record.masquerade,
            names: self.server.as_ref().map(|server| server.port),
        })
    }
}
