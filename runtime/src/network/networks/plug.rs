//! The kernel's side of an attachment: bridges, pairs of links, addresses and routes.
//!
//! Each step is undone by removing the host's end of the pair.

use std::os::fd::BorrowedFd;

use sha2::{Digest, Sha256};

use super::super::attachment::{Join, Place};
use super::super::dns::Server;
use super::super::error::Error;
use super::super::links::{ContainerEnd, Links};
use super::super::mac::Mac;
use super::super::record::DEFAULT_ID;
use super::super::sysctl;
use super::Networks;

/// The host's ends of the containers' links begin so.
pub(super) const PAIR_PREFIX: &str = "skv";

impl Networks {
    /// A container's place in a network, next to those that it has.
    pub(super) fn seat(&mut self, id: &str, join: &Join, others: &[Place]) -> Result<Place, Error> {
        let reserved = self.reserve(id, std::slice::from_ref(join))?;
        let record = &self.net(&join.network)?.record;
        let (ip, gateway) = reserved
            .first()
            .copied()
            .ok_or_else(|| Error::Unknown(join.network.clone()))?;
        let is_free = |link: &String| others.iter().all(|other| other.link != *link);
        let link = (0..).map(|number| format!("eth{number}")).find(is_free);
        Ok(Place {
            network: join.network.clone(),
            link: link.unwrap_or_default(),
            ip,
            prefix: record.subnet.prefix(),
            gateway,
            mac: Mac::for_address(ip),
            names: join.names.clone(),
        })
    }

    pub(super) async fn plug_in(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        place: &Place,
    ) -> Result<(), Error> {
        let bridge = self.bridge(&place.network).await?;
        let end = ContainerEnd {
            link: place.link.clone(),
            ip: place.ip,
            prefix: place.prefix,
            mac: place.mac,
            mtu: self.net(&place.network)?.record.mtu,
        };
        let (inside, outer) = (enter(netns)?, pair_name(id, &place.network));
        inside.pair(&self.namespace, &outer, &end).await?;
        self.links.join(&outer, bridge).await?;
        inside.configure(&end).await
    }

    /// The default route, if one of the places has a way out.
    pub(super) async fn route(&self, netns: BorrowedFd<'_>, places: &[Place]) -> Result<(), Error> {
        match self.routed(places) {
            Some(place) => enter(netns)?.default_route(place.gateway).await,
            None => Ok(()),
        }
    }

    /// The bridge and what it needs; made when the first container needs it.
    pub(super) async fn bridge(&mut self, network: &str) -> Result<u32, Error> {
        let net = self.net(network)?;
        if let Some(index) = net.bridge {
            return Ok(index);
        }
        let record = net.record.clone();
        let index = self.links.bridge(&record).await?;
        let server = if record.is_default() {
            None
        } else {
            let started = Server::start(record.gateway, self.names.clone()).await;
            let (name, gateway) = (&record.name, record.gateway);
            Some(started.map_err(Error::io(format!(
                "serve names of network {name} on {gateway}"
            )))?)
        };
        let net = self.net(network)?;
        net.server = server;
        net.bridge = Some(index);
        // The rules come before the routing that they restrict.
        let ruled = self.apply_rules().and_then(|()| {
            sysctl::without_ipv6(&record.link)?;
            if !record.internal {
                sysctl::route_loopback(&record.link)?;
            }
            sysctl::route_packets()
        });
        if ruled.is_err() {
            self.net(network)?.bridge = None;
        }
        ruled.map(|()| index)
    }
}

pub(super) fn enter(netns: BorrowedFd<'_>) -> Result<Links, Error> {
    Links::within(netns).map_err(Error::io("enter the container's network namespace"))
}

/// The kernel allows 15 bytes, ids are longer. On the default bridge a container's own id is enough.
pub(super) fn pair_name(id: &str, network: &str) -> String {
    let mut digest = Sha256::new_with_prefix(id.as_bytes());
    if network != DEFAULT_ID {
        digest.update(network.as_bytes());
    }
    let digest = digest.finalize();
    digest
        .iter()
        .take(6)
        .fold(PAIR_PREFIX.to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}
