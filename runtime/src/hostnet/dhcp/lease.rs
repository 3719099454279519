//! What a DHCP server grants: an address for a time, and what comes with it.
//!
//! Values are checked when read from a message; here they are only held.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A granted or offered address and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The bits of it that name the network.
    pub prefix: u8,
    /// Where packets for elsewhere go.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domains that short names are looked up in.
    pub search: Vec<String>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The link's largest packet.
    pub mtu: Option<u16>,
    /// The host's name as the server has it.
    pub hostname: Option<String>,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// How long it may be used; `None` is for ever.
    pub seconds: Option<u32>,
    /// When to ask the same server for more time.
    pub renew_after: u32,
    /// When to ask any server.
    pub rebind_after: u32,
}

/// A network and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network's first address.
    pub to: Ipv4Addr,
    /// Its bits; 0 is the default route.
    pub prefix: u8,
    /// The router; `None` when the network is on the link itself.
    pub via: Option<Ipv4Addr>,
}

/// A lease in use, counted from when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What was granted.
    pub lease: Lease,
    /// When the request that was granted was sent.
    pub asked: Duration,
}

impl Held {
    /// When the same server should be asked for more time; never for endless leases.
    pub fn renew_at(&self) -> Option<Duration> {
        self.lease
            .seconds
            .map(|_| self.after(self.lease.renew_after))
    }

    /// When any server should be asked.
    pub fn rebind_at(&self) -> Option<Duration> {
        self.lease
            .seconds
            .map(|_| self.after(self.lease.rebind_after))
    }

    /// When the address may not be used any more.
    pub fn expires_at(&self) -> Option<Duration> {
        self.lease.seconds.map(|seconds| self.after(seconds))
    }

    fn after(&self, seconds: u32) -> Duration {
        self.asked + Duration::from_secs(seconds.into())
    }
}
