//! The agent of one machine: what is placed here runs here, and what runs here is told.
//!
//! Input in, requests and orders out; it reads no clock and no socket. Without etcd it changes nothing:
//! units run on, and a strict one is killed by its host's watchdog, which only the cluster feeds.

mod lease;
mod local;

use crate::store::{Change, Item, LeaseId, Reply, Request, Revision, Txn, Watched, Write};
use crate::unit::options::OnDisconnect;
use formats::fleet::{
    Desired, Key, MachineId, MachineRecord, PlacedRecord, StatusRecord, UnitName, decode, encode,
    placed_on, status_of,
};
pub use lease::Lease;
pub use local::{Heard, Local, Order};
use std::collections::BTreeMap;
use std::time::Duration;

/// What happens to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A request was answered.
    Reply(u64, Reply),
    /// The watch that was asked for under this number tells.
    Watched(u64, Watched),
    /// The host tells of a unit, having carried out the order of this number.
    Host(UnitName, Heard, u64),
}

/// What an agent wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Of etcd.
    Ask(u64, Request),
    /// Of the host.
    Order(Order),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Grant(Duration),
    KeepAlive(LeaseId, Duration),
    Announce(LeaseId),
    Read,
    Tell,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    id: MachineId,
    record: MachineRecord,
    lease: Lease,
    announced: Option<LeaseId>,
    /// Placements as etcd has them, each with its revision.
    placed: BTreeMap<UnitName, (PlacedRecord, Revision)>,
    /// What etcd has of this machine's statuses.
    told: BTreeMap<UnitName, StatusRecord>,
    local: Local,
    asked: BTreeMap<u64, Purpose>,
    next: u64,
    read_at: Option<Revision>,
    watch: Option<u64>,
}

impl Agent {
    /// One that starts, on a host where these units run already, from these files.
    #[must_use]
    pub fn new(
        id: MachineId,
        record: MachineRecord,
        ttl: Duration,
        running: &[(UnitName, String)],
    ) -> Self {
        Self {
            id,
            record,
            lease: Lease::new(ttl),
            announced: None,
            placed: BTreeMap::new(),
            told: BTreeMap::new(),
            local: Local::new(running),
            asked: BTreeMap::new(),
            next: 0,
            read_at: None,
            watch: None,
        }
    }

    /// Its requests and orders are numbered from here: a restarted one takes no answer for its own.
    #[must_use]
    pub fn numbered_from(mut self, number: u64) -> Self {
        self.next = number;
        self.local.number_from(number);
        self
    }

    /// One step: what happened, and what is to be done now.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => self.local.tick(),
            Input::Reply(number, reply) => self.reply(number, reply, &mut out),
            Input::Watched(number, watched) if self.watch == Some(number) => self.watched(watched),
            Input::Watched(..) => {}
            Input::Host(unit, heard, order) => self.local.host(unit, heard, order),
        }
        self.live(now, &mut out);
        if self.read_at.is_none() {
            self.read(&mut out);
        } else if self.announced.is_some() {
            let orders = self.local.orders(&self.placed, self.lease.fed_until(), now);
            out.extend(orders.into_iter().map(Output::Order));
            self.tell(&mut out);
        }
        out
    }

    fn reply(&mut self, number: u64, reply: Reply, out: &mut Vec<Output>) {
        let Some(purpose) = self.asked.remove(&number) else {
            return;
        };
        match (purpose, reply) {
            (Purpose::Grant(sent), Reply::Granted(lease)) => {
                self.lease.granted(lease, sent);
                self.announced = None;
            }
            (Purpose::KeepAlive(lease, sent), Reply::KeptAlive)
                if self.lease.id() == Some(lease) =>
            {
                self.lease.kept(sent);
                self.feed(out);
            }
            (Purpose::KeepAlive(lease, _), Reply::NoSuchLease)
                if self.lease.id() == Some(lease) =>
            {
                self.lost();
            }
            // A former lease's announcement may come late: it says nothing of this one.
            (Purpose::Announce(lease), Reply::Txn { done: true, .. })
                if self.lease.id() == Some(lease) =>
            {
                self.announced = Some(lease);
                self.feed(out);
            }
            (Purpose::Read, Reply::Read { revision, items }) => self.take(revision, &items),
            (Purpose::Tell, Reply::Unknown | Reply::Txn { done: false, .. }) => self.blind(),
            _ => {}
        }
    }

    fn lost(&mut self) {
        self.lease.lost();
        self.announced = None;
    }

    fn blind(&mut self) {
        self.read_at = None;
        self.watch = None;
    }

    /// Strict units live on the cluster's word: their watchdogs get the time until which it holds.
    fn feed(&self, out: &mut Vec<Output>) {
        let Some(until) = self.lease.fed_until() else {
            return;
        };
        let strict = self.placed.keys().filter_map(|name| {
            let OnDisconnect::StopAfter(time) = self.local.on_disconnect(name)? else {
                return None;
            };
            Some(Output::Order(Order::Feed(name.clone(), until + time)))
        });
        out.extend(strict);
    }

    fn take(&mut self, revision: Revision, items: &[Item]) {
        self.placed.clear();
        self.told.clear();
        for item in items {
            self.put(item);
        }
        self.read_at = Some(revision);
        self.watch = None;
    }

    fn put(&mut self, item: &Item) {
        match item.key.parse() {
            // A placement that cannot be read changes nothing: what runs, runs on.
            Ok(Key::Placed(id, name)) if id == self.id => {
                if let Ok(record) = decode(&item.value) {
                    self.local.learn(&name, &record);
                    self.placed.insert(name, (record, item.modified));
                }
            }
            Ok(Key::Status(id, name)) if id == self.id => match decode(&item.value) {
                Ok(status) => drop(self.told.insert(name, status)),
                Err(_) => drop(self.told.remove(&name)),
            },
            _ => {}
        }
    }

    fn watched(&mut self, watched: Watched) {
        let Watched::Changes(revision, changes) = watched else {
            return self.blind();
        };
        for change in &changes {
            match change {
                Change::Put(item) => self.put(item),
                Change::Deleted { key, .. } => match key.parse() {
                    Ok(Key::Placed(_, name)) => drop(self.placed.remove(&name)),
                    Ok(Key::Status(_, name)) => drop(self.told.remove(&name)),
                    _ => {}
                },
            }
        }
        self.read_at = self.read_at.max(Some(revision));
    }

    fn live(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.lease.is_over(now) {
            self.lost();
        }
        let asking = |p: fn(&Purpose) -> bool| self.asked.values().any(p);
        if self.lease.id().is_none() {
            if !asking(|p| matches!(p, Purpose::Grant(_))) {
                self.ask(Purpose::Grant(now), Request::Grant(self.lease.ttl()), out);
            }
            return;
        }
        if self.announced.is_none() && !asking(|p| matches!(p, Purpose::Announce(_))) {
            self.announce(out);
        }
        if let Some(lease) = self.lease.due(now) {
            self.ask(
                Purpose::KeepAlive(lease, now),
                Request::KeepAlive(lease),
                out,
            );
        }
    }

    fn announce(&mut self, out: &mut Vec<Output>) {
        let Some(id) = self.lease.id() else { return };
        let machine = Write::Put {
            key: Key::Machine(self.id.clone()),
            value: encode(&self.record),
            lease: None,
        };
        let alive = Write::Put {
            key: Key::Alive(self.id.clone()),
            value: b"true".to_vec(),
            lease: Some(id),
        };
        let then = vec![machine, alive];
        self.ask(
            Purpose::Announce(id),
            Request::Txn(Txn { when: vec![], then }),
            out,
        );
    }

    fn read(&mut self, out: &mut Vec<Output>) {
        if self.asked.values().any(|p| *p == Purpose::Read) {
            return;
        }
        self.ask(Purpose::Read, Request::Read(self.prefixes()), out);
    }

    fn prefixes(&self) -> Vec<String> {
        vec![placed_on(&self.id), status_of(&self.id)]
    }

    /// Writes what changed since it was last told, a batch at a time.
    fn tell(&mut self, out: &mut Vec<Output>) {
        if self.watch.is_none() {
            self.next += 1;
            self.watch = Some(self.next);
            let from = self.read_at.unwrap_or_default() + 1;
            out.push(Output::Ask(
                self.next,
                Request::Watch(self.prefixes(), from),
            ));
        }
        if self.asked.values().any(|p| *p == Purpose::Tell) {
            return;
        }
        let news = self.local.news(&self.placed, &self.told);
        let mut txn = Txn::default();
        for (name, status) in news.into_iter().take(crate::store::BATCH) {
            let key = Key::Status(self.id.clone(), name.clone());
            match status {
                Some(status) => {
                    txn.then.push(Write::Put {
                        key,
                        value: encode(&status),
                        lease: None,
                    });
                    self.told.insert(name, status);
                }
                None => {
                    txn.then.push(Write::Delete(key));
                    self.told.remove(&name);
                }
            }
        }
        if !txn.then.is_empty() {
            self.ask(Purpose::Tell, Request::Txn(txn), out);
        }
    }

    fn ask(&mut self, purpose: Purpose, request: Request, out: &mut Vec<Output>) {
        self.next += 1;
        self.asked.insert(self.next, purpose);
        out.push(Output::Ask(self.next, request));
    }
}

/// Whether a placement wants the unit to run.
fn runs(record: &PlacedRecord) -> bool {
    matches!(
        record,
        PlacedRecord::Here {
            desired: Desired::Launched,
            ..
        }
    )
}
