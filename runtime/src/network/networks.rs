//! The edge: attaches containers to networks, publishes their ports, and takes both over after a
//! restart.
//!
//! Keeps nothing on disk: the engine persists each [`NetworkRecord`] and each [`Attachment`] and
//! gives them back to `add` and `restore`.

mod net;
mod plug;
mod ports;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::sync::PoisonError;

use formats::paths;

use super::attachment::{Attach, Attachment, Join, Place};
use super::claims::Claims;
use super::dns::names::{Known, Seat};
use super::dns::server::Shared;
use super::error::Error;
use super::held::HeldPort;
use super::links::Links;
use super::nftables::batch::Batch;
use super::nftables::socket::apply;
use super::record::{DEFAULT_ID, NetworkRecord};
use super::resolver;
use super::ruleset::{self, Bridge, Published};
use super::subnet::Subnet;
use net::Net;
use plug::{PAIR_PREFIX, pair_name};

/// The networks of this host's containers.
#[derive(Debug)]
pub struct Networks {
    links: Links,
    /// The namespace that all this is in, for the links' ends that are made from within another.
    namespace: File,
    /// By id; the default bridge is always there.
    nets: BTreeMap<String, Net>,
    claims: Claims,
    attached: BTreeMap<String, Attached>,
    /// What the name servers answer from.
    names: Shared,
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
        let default = Net::new(NetworkRecord::default_bridge());
        Ok(Networks {
            links: Links::here().map_err(Error::io("open rtnetlink socket"))?,
            namespace,
            nets: BTreeMap::from([(DEFAULT_ID.to_owned(), default)]),
            claims: Claims::default(),
            attached: BTreeMap::new(),
            names: Shared::default(),
        })
    }

    /// Makes a network known. Its bridge is for the first container.
    pub fn add(&mut self, record: NetworkRecord) {
        self.nets.insert(record.id.clone(), Net::new(record));
    }

    /// Removes a network that no container is in, with its bridge.
    pub async fn remove(&mut self, network: &str) -> Result<(), Error> {
        if let Some(id) = self.users(network).first() {
            return Err(Error::InUse((*id).to_owned()));
        }
        let Some(net) = self.nets.remove(network) else {
            return Ok(());
        };
        self.links.remove(&net.record.link).await?;
        if net.bridge.is_some() {
            self.apply_rules()?;
        }
        Ok(())
    }

    /// All networks.
    pub fn records(&self) -> impl Iterator<Item = &NetworkRecord> {
        self.nets.values().map(|net| &net.record)
    }

    /// The containers that are attached to a network, by id.
    pub fn users(&self, network: &str) -> Vec<&str> {
        let is_in = |attached: &Attached| attached.attachment.place_in(network).is_some();
        let users = self.attached.iter().filter(|(_, a)| is_in(a));
        users.map(|(id, _)| id.as_str()).collect()
    }

    /// The addresses that a new network must not meet: those of networks, and those that the host
    /// has routes to.
    pub async fn taken(&self) -> Result<Vec<Subnet>, Error> {
        let mut taken = self.links.routed().await?;
        taken.extend(self.records().map(|record| record.subnet));
        Ok(taken)
    }

    /// Whether the host has a link of that name.
    pub async fn has_link(&self, name: &str) -> Result<bool, Error> {
        Ok(self.links.index(name).await?.is_some())
    }

    /// The addresses that `attach` will give to `id`, for `/etc/hosts` written before the start,
    /// each with its gateway. `detach` frees them.
    pub fn reserve(
        &mut self,
        id: &str,
        joins: &[Join],
    ) -> Result<Vec<(Ipv4Addr, Ipv4Addr)>, Error> {
        joins
            .iter()
            .map(|join| {
                let net = self.net(&join.network)?;
                if let Some(ip) = join.ip {
                    net.addresses.reserve_exact(id, ip)?;
                }
                Ok((net.addresses.reserve(id)?, net.record.gateway))
            })
            .collect()
    }

    /// Gives the network namespace `netns` (of a container that has not started yet) a loopback
    /// and a link for each of its networks, and publishes the ports. `netns` is a namespace's
    /// descriptor or a pidfd. An earlier attachment of `id` is undone first. After an error
    /// nothing is left.
    pub async fn attach(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        wanted: &Attach<'_>,
    ) -> Result<Option<Attachment>, Error> {
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
        plug::enter(netns)?.loopback().await
    }

    /// Frees the addresses, the links and the ports of `id`; succeeds if there are none.
    pub async fn detach(&mut self, id: &str) -> Result<(), Error> {
        for net in self.nets.values_mut() {
            net.addresses.release(id);
        }
        self.withdraw(id).await
    }

    /// Puts a running container into one network more; `wanted` has its ports, for the case that
    /// it was in none before.
    pub async fn connect(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        join: &Join,
        wanted: &Attach<'_>,
    ) -> Result<Option<Attachment>, Error> {
        let Some(attached) = self.attached.get(id) else {
            let joins = std::slice::from_ref(join);
            let wanted = Attach {
                joins,
                ..wanted.clone()
            };
            return self.attach(id, netns, &wanted).await;
        };
        let mut places = attached.attachment.all_places();
        if places.iter().any(|place| place.network == join.network) {
            return Err(Error::Joined(id.to_owned()));
        }
        let place = self.seat(id, join, &places)?;
        if let Err(error) = self.plug_in(id, netns, &place).await {
            self.net(&join.network)?.addresses.release(id);
            let _ = self.links.remove(&pair_name(id, &join.network)).await;
            return Err(error);
        }
        places.push(place);
        self.replace(id, netns, places).await
    }

    /// Takes a running container out of a network.
    pub async fn disconnect(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        network: &str,
    ) -> Result<Option<Attachment>, Error> {
        let Some(attached) = self.attached.get(id) else {
            return Ok(None);
        };
        let mut places = attached.attachment.all_places();
        places.retain(|place| place.network != network);
        self.links.remove(&pair_name(id, network)).await?;
        if let Ok(net) = self.net(network) {
            net.addresses.release(id);
        }
        if places.is_empty() {
            self.withdraw(id).await?;
            return Ok(None);
        }
        self.replace(id, netns, places).await
    }

    /// After an engine's restart: takes over the containers that still run, and removes the links
    /// and rules of those that do not. Open connections stay open. What goes wrong with one
    /// container or network is told at the end, and is nobody else's trouble.
    pub async fn restore(&mut self, attachments: Vec<Attachment>) -> Result<(), Error> {
        let mut first = Ok(());
        for attachment in attachments {
            first = first.and(self.restore_one(attachment));
        }
        first = first.and(self.remove_stray_links().await);
        let networks: Vec<String> = self.nets.keys().cloned().collect();
        for network in networks {
            first = first.and(self.restore_bridge(&network).await);
        }
        first
    }

    fn restore_one(&mut self, attachment: Attachment) -> Result<(), Error> {
        let id = attachment.id.clone();
        let mut first = Ok(());
        for place in attachment.all_places() {
            let reserved = match self.nets.get_mut(&place.network) {
                Some(net) => net.addresses.reserve_exact(&id, place.ip),
                None => {
                    first = first.and(Err(Error::Unknown(place.network)));
                    continue;
                }
            };
            first = first.and(reserved.map_err(Error::from));
        }
        let held = self.take_ports_again(&id, &attachment.ports);
        self.tell_names(&attachment);
        let (held, claimed) = match held {
            Ok(held) => (held, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.attached.insert(id, Attached { attachment, held });
        first.and(claimed)
    }

    async fn restore_bridge(&mut self, network: &str) -> Result<(), Error> {
        let link = self.net(network)?.record.link.clone();
        if !self.users(network).is_empty() || self.links.index(&link).await?.is_some() {
            self.bridge(network).await?;
        }
        Ok(())
    }

    async fn attach_steps(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        wanted: &Attach<'_>,
    ) -> Result<Option<Attachment>, Error> {
        let mut places: Vec<Place> = Vec::new();
        for join in wanted.joins {
            places.push(self.seat(id, join, &places)?);
        }
        let (ports, held) = self.take_ports(id, wanted.ports)?;
        self.loopback_only(netns).await?;
        for place in &places {
            self.plug_in(id, netns, place).await?;
        }
        self.route(netns, &places).await?;
        let Some(mut attachment) = Attachment::new(id, places, ports, usable_servers()) else {
            return Ok(None);
        };
        attachment.upstreams = wanted.upstreams.to_vec();
        self.keep(Attached { attachment, held })
    }

    /// Keeps other places of a container than before.
    async fn replace(
        &mut self,
        id: &str,
        netns: BorrowedFd<'_>,
        places: Vec<Place>,
    ) -> Result<Option<Attachment>, Error> {
        self.route(netns, &places).await?;
        let Some(Attached { attachment, held }) = self.attached.remove(id) else {
            return Ok(None);
        };
        let Attachment { ports, dns, .. } = attachment;
        let Some(new) = Attachment::new(id, places, ports, dns) else {
            return Ok(None);
        };
        let upstreams = attachment.upstreams;
        let attachment = Attachment { upstreams, ..new };
        self.keep(Attached { attachment, held })
    }

    fn keep(&mut self, attached: Attached) -> Result<Option<Attachment>, Error> {
        let attachment = attached.attachment.clone();
        self.tell_names(&attachment);
        self.attached.insert(attachment.id.clone(), attached);
        self.apply_rules()?;
        Ok(Some(attachment))
    }

    fn tell_names(&self, attachment: &Attachment) {
        let seat = |place: Place| {
            let record = &self.nets.get(&place.network)?.record;
            (!record.is_default()).then(|| Seat {
                network: place.network,
                network_name: record.name.clone(),
                internal: record.internal,
                ip: place.ip,
                names: place.names,
            })
        };
        let known = Known {
            seats: attachment
                .all_places()
                .into_iter()
                .filter_map(seat)
                .collect(),
            upstreams: attachment.upstreams.clone(),
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.set(&attachment.id, known);
    }

    async fn withdraw(&mut self, id: &str) -> Result<(), Error> {
        self.claims.release(id);
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        let Some(gone) = self.attached.remove(id) else {
            // A start that failed half-way may have left some.
            for network in self.nets.keys() {
                self.links.remove(&pair_name(id, network)).await?;
            }
            return Ok(());
        };
        for place in gone.attachment.all_places() {
            self.links.remove(&pair_name(id, &place.network)).await?;
        }
        if !gone.attachment.ports.is_empty() {
            self.apply_rules()?;
        }
        Ok(())
    }

    async fn remove_stray_links(&self) -> Result<(), Error> {
        let places = |(id, attached): (&String, &Attached)| {
            let places = attached.attachment.all_places().into_iter();
            let names = places.map(|place| pair_name(id, &place.network));
            names.collect::<Vec<_>>()
        };
        let known: HashSet<String> = self.attached.iter().flat_map(places).collect();
        for name in self.links.pairs(PAIR_PREFIX).await? {
            if !known.contains(&name) {
                self.links.remove(&name).await?;
            }
        }
        Ok(())
    }

    fn net(&mut self, network: &str) -> Result<&mut Net, Error> {
        let unknown = || Error::Unknown(network.to_owned());
        self.nets.get_mut(network).ok_or_else(unknown)
    }

    /// The place that a container's published ports and default route lead by: nothing is routed
    /// to or from an internal network.
    fn routed<'a>(&self, places: &'a [Place]) -> Option<&'a Place> {
        places.iter().find(|place| {
            let net = self.nets.get(&place.network);
            net.is_some_and(|net| !net.record.internal)
        })
    }

    fn apply_rules(&self) -> Result<(), Error> {
        let mut published = Vec::new();
        for (id, attached) in &self.attached {
            let places = attached.attachment.all_places();
            let Some(ip) = self.routed(&places).map(|place| place.ip) else {
                continue;
            };
            let ports = attached.attachment.ports.iter();
            published.extend(ports.map(|&port| Published { id, ip, port }));
        }
        let bridges: Vec<Bridge> = self.nets.values().filter_map(Net::for_rules).collect();
        apply(&Batch::replacing(&ruleset::table(&bridges, &published)))
    }
}

fn usable_servers() -> Vec<IpAddr> {
    let host = fs::read_to_string(paths::RESOLV_CONF).unwrap_or_default();
    resolver::usable_servers(&host)
}
