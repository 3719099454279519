//! The edge to rtnetlink: the bridge, the pair of links of a container, addresses and routes.
//!
//! Each [`Links`] acts in the one network namespace it was opened in; decides no names or addresses.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use nix::sched::{CloneFlags, setns};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use super::error::Error;
use super::mac::Mac;
use super::record::NetworkRecord;
use super::subnet::Subnet;

/// Links, addresses and routes of one network namespace.
#[derive(Debug, Clone)]
pub struct Links {
    handle: Handle,
}

/// A container's end of a pair of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Its name there, e.g. `eth0`.
    pub link: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The bits of `ip` that name the network.
    pub prefix: u8,
    /// Its link address.
    pub mac: Mac,
    /// Bytes of the longest packet; the kernel's default when absent.
    pub mtu: Option<u32>,
}

impl Links {
    /// Opens the calling thread's own network namespace, in a tokio runtime.
    pub fn here() -> io::Result<Links> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Links { handle })
    }

    /// Opens the namespace behind `netns`: its own descriptor, or the pidfd of a process in it.
    ///
    /// A socket stays in the namespace it was made in, so only a thread that ends at once enters.
    pub fn within(netns: BorrowedFd<'_>) -> io::Result<Links> {
        let runtime = tokio::runtime::Handle::current();
        let open = || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            let _entered = runtime.enter();
            Links::here()
        };
        std::thread::scope(|scope| scope.spawn(open).join()).unwrap_or_else(|_| {
            Err(io::Error::other(
                "the thread that entered the namespace died",
            ))
        })
    }

    /// Makes the bridge with its gateway's address, unless it is there; then only brings it up.
    pub async fn bridge(&self, record: &NetworkRecord) -> Result<u32, Error> {
        let name = record.link.as_str();
        if self.index(name).await?.is_none() {
            let mac = Mac::for_address(record.gateway).0.to_vec();
            let mut bridge = LinkBridge::new(name).address(mac);
            if let Some(mtu) = record.mtu {
                bridge = bridge.mtu(mtu);
            }
            let made = self.handle.link().add(bridge.build()).execute().await;
            made.map_err(Error::link(format!("create bridge {name}")))?;
        }
        let index = self.expect(name).await?;
        self.address(index, name, record.gateway, record.subnet.prefix())
            .await?;
        self.up(index, name).await?;
        Ok(index)
    }

    /// Makes the pair: `end` in this namespace, its other end `peer` in the namespace `host`.
    pub async fn pair(&self, host: &File, peer: &str, end: &ContainerEnd) -> Result<(), Error> {
        let mut other = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .setns_by_fd(host.as_raw_fd());
        let mut pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(&end.link)
            .address(end.mac.0.to_vec());
        if let Some(mtu) = end.mtu {
            other = other.mtu(mtu);
            pair = pair.mtu(mtu);
        }
        let pair = pair.set_info_data(InfoData::Veth(InfoVeth::Peer(other.build())));
        let made = self.handle.link().add(pair.build()).execute().await;
        let link = &end.link;
        made.map_err(Error::link(format!("create links {link} and {peer}")))
    }

    /// Gives a container's end its address, and brings it up.
    pub async fn configure(&self, end: &ContainerEnd) -> Result<(), Error> {
        let index = self.expect(&end.link).await?;
        self.address(index, &end.link, end.ip, end.prefix).await?;
        self.up(index, &end.link).await
    }

    /// The way to everywhere else, instead of the one there may be.
    pub async fn default_route(&self, gateway: Ipv4Addr) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .build();
        let added = self.handle.route().add(route).replace().execute().await;
        added.map_err(Error::link(format!("add default route by {gateway}")))
    }

    /// The networks that this namespace has routes to, the default route not among them.
    pub async fn routed(&self) -> Result<Vec<Subnet>, Error> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Result<Vec<_>, _> = self.handle.route().get(all).execute().try_collect().await;
        let routes = routes.map_err(Error::link("list routes"))?;
        let subnet = |route: &RouteMessage| {
            let prefix = route.header.destination_prefix_length.min(30);
            route
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
                        Subnet::containing(*ip, prefix)
                    }
                    _ => None,
                })
        };
        Ok(routes.iter().filter_map(subnet).collect())
    }

    /// Brings up the loopback.
    pub async fn loopback(&self) -> Result<(), Error> {
        let index = self.expect("lo").await?;
        self.up(index, "lo").await
    }

    /// Makes the link a port of the bridge, and brings it up.
    pub async fn join(&self, name: &str, bridge: u32) -> Result<(), Error> {
        let index = self.expect(name).await?;
        let port = LinkUnspec::new_with_index(index)
            .controller(bridge)
            .up()
            .build();
        let set = self.handle.link().set(port).execute().await;
        set.map_err(Error::link(format!("add link {name} to the bridge")))
    }

    /// Removes the link, if it is there.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let Some(index) = self.index(name).await? else {
            return Ok(());
        };
        match self.handle.link().del(index).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if is_absent(&error.to_io()) => Ok(()),
            done => done.map_err(Error::link(format!("remove link {name}"))),
        }
    }

    /// The names of the pairs' ends in this namespace that begin with `prefix`.
    pub async fn pairs(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let links: Result<Vec<LinkMessage>, _> =
            self.handle.link().get().execute().try_collect().await;
        let links = links.map_err(Error::link("list links"))?;
        let names = links.iter().filter(|link| is_pair(link)).filter_map(name);
        Ok(names
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect())
    }

    /// The index of the link, if there is one.
    pub async fn index(&self, name: &str) -> Result<Option<u32>, Error> {
        match self
            .handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await
        {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(rtnetlink::Error::NetlinkError(error)) if is_absent(&error.to_io()) => Ok(None),
            Err(error) => Err(Error::link(format!("look up link {name}"))(error)),
        }
    }

    async fn expect(&self, name: &str) -> Result<u32, Error> {
        let index = self.index(name).await?;
        index.ok_or_else(|| {
            Error::io(format!("look up link {name}"))(io::ErrorKind::NotFound.into())
        })
    }

    async fn address(&self, index: u32, name: &str, ip: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        let added = self
            .handle
            .address()
            .add(index, ip.into(), prefix)
            .replace()
            .execute()
            .await;
        added.map_err(Error::link(format!("give {ip}/{prefix} to link {name}")))
    }

    async fn up(&self, index: u32, name: &str) -> Result<(), Error> {
        let set = self
            .handle
            .link()
            .set(LinkUnspec::new_with_index(index).up().build());
        set.execute()
            .await
            .map_err(Error::link(format!("bring up link {name}")))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == nix::libc::ENODEV || code == nix::libc::ENOENT)
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

fn is_pair(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}
