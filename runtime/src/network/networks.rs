//! The edge: attaches containers to the default bridge, publishes their ports, and takes both over
//! after a restart.
//!
//! Keeps nothing on disk: the engine persists each [`Attachment`] and gives it back to `restore`.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use formats::paths;
use sha2::{Digest, Sha256};

use super::attachment::{Attach, Attachment};
use super::claims::{Claims, PortTaken};
use super::error::Error;
use super::held::HeldPort;
use super::ipam::Ipam;
use super::links::{ContainerEnd, Links};
use super::mac::Mac;
use super::nftables::batch::Batch;
use super::nftables::socket::apply;
use super::port::PortMapping;
use super::ruleset::{self, Published};
use super::subnet::Subnet;
use super::{resolver, sysctl};

/// The default bridge.
pub const BRIDGE: &str = "skeg0";
/// The host's ends of the containers' links begin so.
const PAIR_PREFIX: &str = "skv";

/// Descriptors are few (1024 by default) and the engine needs them: ports beyond these are looked at
/// when they are published, but not kept from programs that come later.
const MOST_HELD: usize = 256;

/// The networks of this host's containers.
#[derive(Debug)]
pub struct Networks {
    links: Links,
    /// The namespace that all this is in, for the links' ends that are made from within another.
    namespace: File,
    subnet: Subnet,
    /// The bridge's index, once it is known to be there.
    bridge: Option<u32>,
    addresses: Ipam,
    claims: Claims,
    attached: BTreeMap<String, Attached>,
}

#[derive(Debug)]
struct Attached {
    attachment: Attachment,
    held: Vec<HeldPort>,
}

impl Networks {
    /// Connects to the kernel. Makes no link and no rule yet: that is for the first `attach`.
    ///
    /// Acts in the network namespace of the calling thread, within a tokio runtime.
    pub async fn open() -> Result<Networks, Error> {
        let namespace = File::open("/proc/thread-self/ns/net")
            .map_err(Error::io("open the host's network namespace"))?;
        Ok(Networks {
            links: Links::here().map_err(Error::io("open rtnetlink socket"))?,
            namespace,
            subnet: Subnet::DEFAULT,
            bridge: None,
            addresses: Ipam::new(Subnet::DEFAULT),
            claims: Claims::default(),
            attached: BTreeMap::new(),
        })
    }

    /// The address that `attach` will give to `id`, for `/etc/hosts` written before the start.
    /// `detach` frees it.
    pub fn reserve(&mut self, id: &str, ip: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
        if let Some(ip) = ip {
            self.addresses.reserve_exact(id, ip)?;
        }
        Ok(self.addresses.reserve(id)?)
    }

    /// Gives the network namespace `netns` (of a container that has not started yet) an `eth0` on
    /// the bridge and a loopback, and publishes the ports. `netns` is a namespace's descriptor or
    /// a pidfd. An earlier attachment of `id` is undone first. After an error nothing is left.
    pub async fn attach(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        wanted: &Attach<'_>,
    ) -> Result<Attachment, Error> {
        self.withdraw(id).await?;
        let attached = self.attach_steps(id, netns, wanted).await;
        if attached.is_err() {
            // The error that led here is the one to tell.
            let _ = self.detach(id).await;
        }
        attached
    }

    /// Mode `none`: brings up the loopback of `netns` and nothing else.
    pub async fn loopback_only(&self, netns: BorrowedFd<'_>) -> Result<(), Error> {
        enter(netns)?.loopback().await
    }

    /// Frees the address, the link and the ports of `id`; succeeds if there are none.
    pub async fn detach(&mut self, id: &str) -> Result<(), Error> {
        self.addresses.release(id);
        self.withdraw(id).await
    }

    /// After an engine's restart: takes over the containers that still run, and removes the links
    /// and rules of those that do not. Open connections stay open.
    pub async fn restore(&mut self, attachments: Vec<Attachment>) -> Result<(), Error> {
        let leases = attachments
            .iter()
            .map(|attachment| (attachment.id.as_str(), attachment.ip));
        self.addresses.restore(leases)?;
        for attachment in attachments {
            self.claims.claim(&attachment.id, &attachment.ports)?;
            let room = self.room_for_held();
            let held = attachment
                .ports
                .iter()
                .take(room)
                .filter_map(hold_again)
                .collect();
            self.attached
                .insert(attachment.id.clone(), Attached { attachment, held });
        }
        self.remove_stray_links().await?;
        if self.attached.is_empty() && self.links.index(BRIDGE).await?.is_none() {
            return Ok(());
        }
        self.bridge().await?;
        self.apply_rules()
    }

    async fn attach_steps(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        wanted: &Attach<'_>,
    ) -> Result<Attachment, Error> {
        let ip = self.reserve(id, wanted.ip)?;
        let (ports, held) = self.take_ports(id, wanted.ports)?;
        let end = ContainerEnd {
            ip,
            subnet: self.subnet,
            mac: Mac::for_address(ip),
        };
        self.plug_in(id, netns, &end).await?;
        let attachment = self.attachment(id, &end, ports);
        let attached = Attached {
            attachment: attachment.clone(),
            held,
        };
        self.attached.insert(id.to_owned(), attached);
        self.apply_rules()?;
        Ok(attachment)
    }

    fn attachment(&self, id: &str, end: &ContainerEnd, ports: Vec<PortMapping>) -> Attachment {
        let host = fs::read_to_string(paths::RESOLV_CONF).unwrap_or_default();
        Attachment {
            id: id.to_owned(),
            ip: end.ip,
            prefix: self.subnet.prefix(),
            gateway: self.subnet.gateway(),
            mac: end.mac,
            ports,
            dns: resolver::usable_servers(&host),
        }
    }

    /// Claims first, since a container's name says more than `address in use`.
    fn take_ports(
        &mut self,
        id: &str,
        wanted: &[PortMapping],
    ) -> Result<(Vec<PortMapping>, Vec<HeldPort>), Error> {
        let (mut ports, mut held, room) = (Vec::new(), Vec::new(), self.room_for_held());
        let (free, named): (Vec<_>, Vec<_>) = wanted.iter().partition(|port| port.host_port == 0);
        self.claims.claim(id, &named)?;
        for port in named.iter().chain(&free) {
            let (kept, port) = HeldPort::take(port).map_err(|error| refused(port, error))?;
            if held.len() < room {
                held.push(kept);
            }
            ports.push(port);
        }
        self.claims.claim(id, &ports[named.len()..])?;
        Ok((ports, held))
    }

    fn room_for_held(&self) -> usize {
        let held: usize = self
            .attached
            .values()
            .map(|attached| attached.held.len())
            .sum();
        MOST_HELD.saturating_sub(held)
    }

    async fn plug_in(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        end: &ContainerEnd,
    ) -> Result<(), Error> {
        let bridge = self.bridge().await?;
        let (inside, outer) = (enter(netns)?, pair_name(id));
        inside.loopback().await?;
        inside.pair(&self.namespace, &outer, end.mac).await?;
        self.links.join(&outer, bridge).await?;
        inside.configure(end).await
    }

    /// The bridge and what it needs; made when the first container needs it.
    async fn bridge(&mut self) -> Result<u32, Error> {
        if let Some(index) = self.bridge {
            return Ok(index);
        }
        let index = self.links.bridge(BRIDGE, self.subnet).await?;
        // The rules come before the routing that they restrict.
        self.apply_rules()?;
        sysctl::without_ipv6(BRIDGE)?;
        sysctl::route_loopback(BRIDGE)?;
        sysctl::route_packets()?;
        self.bridge = Some(index);
        Ok(index)
    }

    async fn withdraw(&mut self, id: &str) -> Result<(), Error> {
        self.claims.release(id);
        let gone = self.attached.remove(id);
        self.links.remove(&pair_name(id)).await?;
        if gone.is_some_and(|gone| !gone.attachment.ports.is_empty()) {
            self.apply_rules()?;
        }
        Ok(())
    }

    async fn remove_stray_links(&self) -> Result<(), Error> {
        let known: HashSet<String> = self.attached.keys().map(|id| pair_name(id)).collect();
        for name in self.links.pairs(PAIR_PREFIX).await? {
            if !known.contains(&name) {
                self.links.remove(&name).await?;
            }
        }
        Ok(())
    }

    fn apply_rules(&self) -> Result<(), Error> {
        let published: Vec<Published<'_>> = self
            .attached
            .iter()
            .flat_map(|(id, attached)| {
                let ip = attached.attachment.ip;
                attached.attachment.ports.iter().map(move |port| Published {
                    id,
                    ip,
                    port: *port,
                })
            })
            .collect();
        apply(&Batch::replacing(&ruleset::table(
            BRIDGE,
            self.subnet,
            &published,
        )))
    }
}

fn enter(netns: BorrowedFd<'_>) -> Result<Links, Error> {
    Links::within(netns).map_err(Error::io("enter the container's network namespace"))
}

/// The kernel allows 15 bytes, ids are longer.
fn pair_name(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    digest
        .iter()
        .take(6)
        .fold(PAIR_PREFIX.to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}

/// A port that cannot be kept again is published all the same: its container was there first.
fn hold_again(port: &PortMapping) -> Option<HeldPort> {
    match HeldPort::take(port) {
        Ok((held, _)) => Some(held),
        Err(error) => {
            tracing::warn!("published port {port}: {error}: a program of the host may have it too");
            None
        }
    }
}

fn refused(port: &PortMapping, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        let holder = "a program of the host itself".to_owned();
        return PortTaken {
            wanted: *port,
            holder,
        }
        .into();
    }
    Error::io(format!("publish {port}"))(error)
}
