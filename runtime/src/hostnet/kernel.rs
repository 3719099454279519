//! The edge to the kernel: puts leases into force and takes them out again.
//!
//! Decides nothing; a route or a packet size that the kernel refuses is told and left out.

use std::net::Ipv4Addr;

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, CacheInfo};
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{Error, Handle, LinkUnspec, RouteMessageBuilder};

use super::dhcp::lease::{Lease, Route};

/// Routes of a later link yield to those of an earlier one.
const FIRST_METRIC: u32 = 100;

/// Gives the link what the lease grants. The kernel drops the address by itself when the time is
/// over, should nobody be left to do it.
pub async fn configure(handle: &Handle, index: u32, lease: &Lease) -> Result<(), Error> {
    if let Some(mtu) = lease.mtu {
        let link = LinkUnspec::new_with_index(index).mtu(mtu.into()).build();
        told(handle.link().set(link).execute().await, || {
            format!("set MTU {mtu}")
        });
    }
    let mut request = handle
        .address()
        .add(index, lease.address.into(), lease.prefix)
        .replace();
    let lifetime = lease.seconds.unwrap_or(u32::MAX);
    let mut times = CacheInfo::default();
    (times.ifa_preferred, times.ifa_valid) = (lifetime, lifetime);
    request
        .message_mut()
        .attributes
        .push(AddressAttribute::CacheInfo(times));
    request.execute().await?;
    for route in &lease.routes {
        let added = handle
            .route()
            .add(message(index, lease, route))
            .replace()
            .execute()
            .await;
        told(added, || {
            format!("add route to {}/{}", route.to, route.prefix)
        });
    }
    Ok(())
}

/// Takes all IPv4 addresses but `keep` from the link; routes by them go with them.
pub async fn clear(handle: &Handle, index: u32, keep: Option<Ipv4Addr>) -> Result<(), Error> {
    let addresses = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute();
    let addresses: Vec<AddressMessage> = addresses.try_collect().await?;
    for address in addresses {
        if address.header.family == AddressFamily::Inet && own(&address) != keep {
            handle.address().del(address).execute().await?;
        }
    }
    Ok(())
}

fn message(index: u32, lease: &Lease, route: &Route) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.to, route.prefix)
        .output_interface(index)
        .pref_source(lease.address)
        .priority(FIRST_METRIC + index)
        .protocol(RouteProtocol::Dhcp);
    match route.via {
        // A router outside the lease's own network is on the link all the same: clouds do that.
        Some(router) if !is_near(lease, router) => builder.gateway(router).onlink().build(),
        Some(router) => builder.gateway(router).build(),
        None => builder.scope(RouteScope::Link).build(),
    }
}

fn is_near(lease: &Lease, router: Ipv4Addr) -> bool {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(lease.prefix))
        .unwrap_or(0);
    (lease.address.to_bits() ^ router.to_bits()) & mask == 0
}

fn own(address: &AddressMessage) -> Option<Ipv4Addr> {
    address
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(std::net::IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        })
}

fn told(result: Result<(), Error>, what: impl FnOnce() -> String) {
    if let Err(error) = result {
        tracing::warn!("{}: {error}", what());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_is_told_by_the_lease_s_network() {
        let mut lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            ntp: Vec::new(),
            mtu: None,
            hostname: None,
            server: Ipv4Addr::UNSPECIFIED,
            seconds: None,
            renew_after: 0,
            rebind_after: 0,
        };
        assert!(is_near(&lease, Ipv4Addr::new(10, 0, 2, 2)));
        assert!(!is_near(&lease, Ipv4Addr::new(10, 0, 3, 2)));
        lease.prefix = 32;
        assert!(!is_near(&lease, Ipv4Addr::new(10, 0, 2, 2)));
    }
}
