//! The daemon's one loop: links that come, change and go, leases, the supervisor, SIGTERM.
//!
//! Waits for nothing: each link has a client of its own, and files are written on each change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, LinkUnspec, MulticastGroup};
use tokio::sync::{mpsc, watch};

use super::client::{Change, Client, seed};
use super::report::{Link, Network};
use crate::beat::Beat;
use crate::supervisor::Supervisor;

/// How the daemon is run.
#[derive(Debug)]
pub struct Settings {
    /// Where `network.json` and `resolv.conf` go.
    pub folder: PathBuf,
    /// Names of links to take although they are virtual ones; for tests.
    pub also: Vec<String>,
    /// Who is told.
    pub supervisor: Supervisor,
}

/// The pause between beats when nobody asks for them.
const UNASKED: Duration = Duration::from_secs(3600);
/// A supervisor that waits for the network waits this long for the first lease.
const PATIENCE: Duration = Duration::from_secs(10);

struct Daemon {
    settings: Settings,
    handle: Handle,
    network: Network,
    /// Dropping one ends the link's client.
    carriers: BTreeMap<u32, watch::Sender<bool>>,
    changes: mpsc::Sender<Change>,
    is_ready: bool,
}

/// Runs until `stop` is done.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    // Events first, the list after: no link falls between.
    let (connection, handle, mut events) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
            .context("open rtnetlink socket")?;
    tokio::spawn(connection);
    let (changes, mut changed) = mpsc::channel(16);
    let network = Network::default();
    let mut daemon = Daemon {
        settings,
        handle,
        network,
        carriers: BTreeMap::new(),
        changes,
        is_ready: false,
    };
    daemon.start().await?;
    let beat = Beat::for_watchdog(UNASKED).context("make a timer")?;
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(stop, patience);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some((message, _)) => daemon.event(message.payload).await,
                None => anyhow::bail!("rtnetlink socket: closed by the kernel"),
            },
            Some(change) = changed.recv() => daemon.lease(change),
            () = beat.next() => {
                daemon.settings.supervisor.tell("WATCHDOG=1");
                sys::heap::trim();
            }
            () = &mut patience, if !daemon.is_ready => daemon.ready(),
            () = &mut stop => return Ok(()),
        }
    }
}

impl Daemon {
    async fn start(&mut self) -> anyhow::Result<()> {
        self.write();
        let links = self.handle.link().get().execute();
        let links: Vec<LinkMessage> = links.try_collect().await.context("list links")?;
        for link in links {
            self.link(&link).await;
        }
        // A machine without a link has nothing that others could wait for.
        if self.carriers.is_empty() {
            self.ready();
        }
        Ok(())
    }

    async fn event(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) {
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))
                if !is_of_bridge(&link) =>
            {
                self.link(&link).await;
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
                if !is_of_bridge(&link) =>
            {
                self.gone(&link);
            }
            _ => {}
        }
    }

    async fn link(&mut self, link: &LinkMessage) {
        let (index, name, flags) = (link.header.index, name(link), link.header.flags);
        let is_loopback = flags.contains(LinkFlags::Loopback);
        let is_ours = is_physical(link) || self.settings.also.contains(&name);
        if !is_loopback && !is_ours {
            return;
        }
        if !flags.contains(LinkFlags::Up) && !self.carriers.contains_key(&index) {
            self.bring_up(index, &name).await;
        }
        if !is_loopback {
            self.follow(index, name, mac(link), flags.contains(LinkFlags::LowerUp));
        }
    }

    /// Once, when the link is new: who takes it down later wants it down.
    async fn bring_up(&self, index: u32, name: &str) {
        let up = LinkUnspec::new_with_index(index).up().build();
        if let Err(error) = self.handle.link().set(up).execute().await {
            tracing::warn!("{name}: bring up: {error}");
        }
    }

    fn follow(&mut self, index: u32, name: String, mac: Option<[u8; 6]>, carrier: bool) {
        let Some(mac) = mac else { return };
        let hex: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let new = Link {
            name: name.clone(),
            mac: hex.join(":"),
            carrier,
            lease: None,
            trouble: None,
        };
        let link = self
            .network
            .links
            .entry(index)
            .or_insert_with(|| new.clone());
        let told = name.clone();
        let is_known = self.carriers.contains_key(&index);
        let is_same = is_known && link.carrier == carrier && link.name == name;
        (link.carrier, link.name) = (carrier, name.clone());
        match self.carriers.get(&index) {
            Some(sender) => {
                sender.send_if_modified(|now| std::mem::replace(now, carrier) != carrier);
            }
            None => {
                let (sender, receiver) = watch::channel(carrier);
                let (handle, changes) = (self.handle.clone(), self.changes.clone());
                let client = Client {
                    index,
                    name,
                    mac,
                    handle,
                    changes,
                };
                tokio::spawn(client.run(seed(mac), receiver));
                self.carriers.insert(index, sender);
            }
        }
        if !is_same {
            tracing::info!("{told}: carrier {}", if carrier { "on" } else { "off" });
            self.write();
        }
    }

    fn gone(&mut self, link: &LinkMessage) {
        self.carriers.remove(&link.header.index);
        if self.network.links.remove(&link.header.index).is_some() {
            self.write();
        }
    }

    fn lease(&mut self, change: Change) {
        if let Some(link) = self.network.links.get_mut(&change.index) {
            match change.outcome {
                Ok(lease) => (link.lease, link.trouble) = (lease, None),
                Err(trouble) => link.trouble = Some(trouble),
            }
            self.write();
        }
        if self.network.is_online() && !self.is_ready {
            self.ready();
        }
    }

    fn write(&self) {
        if let Err(error) = self.network.write(&self.settings.folder) {
            tracing::error!("{error}");
        }
        self.settings
            .supervisor
            .tell(&format!("STATUS={}", self.network.summary()));
    }

    fn ready(&mut self) {
        self.is_ready = true;
        self.settings
            .supervisor
            .tell(&format!("READY=1\nSTATUS={}", self.network.summary()));
    }
}

/// What a bridge tells of its ports: without the link's kind, and "gone" is not the link.
fn is_of_bridge(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Bridge
}

/// An ethernet link that no other one was made from.
fn is_physical(link: &LinkMessage) -> bool {
    let is_virtual = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::LinkInfo(_));
    link.header.link_layer_type == LinkLayerType::Ether && !link.attributes.iter().any(is_virtual)
}

fn name(link: &LinkMessage) -> String {
    let name = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
    name.unwrap_or_else(|| format!("link {}", link.header.index))
}

fn mac(link: &LinkMessage) -> Option<[u8; 6]> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
}
