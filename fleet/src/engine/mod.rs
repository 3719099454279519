//! The engine: one leads, the others wait for its key to go. Input in, requests out.
//!
//! It reads no clock and no socket: the same code runs on etcd and in the simulator. It writes only
//! while it leads, and etcd refuses what it writes after.

pub mod mirror;
pub mod rollout;
pub mod rounds;
#[cfg(any(test, feature = "sim"))]
mod sabotage;

use crate::brake::Brake;
use crate::plan::Patience;
use crate::store::{Change, Compare, LeaseId, Reply, Request, Revision, Txn, Watched, Write};
use formats::fleet::{Key, encode};
use mirror::Mirror;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What happens to an engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A request was answered.
    Reply(u64, Reply),
    /// The watch that was asked for under this number tells.
    Watched(u64, Watched),
}

/// A request with the number that its reply carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask(pub u64, pub Request);

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Lease,
    KeepAlive(Duration),
    Read,
    Campaign,
    Round,
    Brake,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It has to read everything before it knows anything.
    Blind,
    /// It knows, and another leads, or nobody yet.
    Follows,
    /// It leads since this revision.
    Leads(Revision),
}

/// An engine.
#[derive(Debug, Clone)]
pub struct Engine {
    name: String,
    patience: Patience,
    stand: Stand,
    lease: Option<(LeaseId, Duration)>,
    mirror: Mirror,
    brake: Brake,
    pace: rollout::Pace,
    asked: BTreeMap<u64, Purpose>,
    next: u64,
    heard: Duration,
    /// A round may only be planned from a mirror that has its own last changes.
    settled_at: Revision,
    /// The last revision that it led by: a reading does not make it newly elected.
    led: Option<Revision>,
    #[cfg(any(test, feature = "sim"))]
    sabotage: Option<crate::sim::Sabotage>,
    changed: bool,
    planned: Duration,
    /// The watch that continues the last reading.
    watch: Option<u64>,
}

impl Engine {
    /// One that knows nothing yet. No two engines, nor two lives of one, may have the same name: by it
    /// one knows its own key in etcd.
    #[must_use]
    pub fn new(name: &str, patience: Patience, now: Duration) -> Self {
        Self {
            name: name.to_owned(),
            patience,
            stand: Stand::Blind,
            lease: None,
            mirror: Mirror::default(),
            brake: Brake::new(patience.ttl, now),
            pace: rollout::Pace::default(),
            asked: BTreeMap::new(),
            next: 0,
            heard: now,
            settled_at: 0,
            led: None,
            #[cfg(any(test, feature = "sim"))]
            sabotage: None,
            changed: false,
            planned: now,
            watch: None,
        }
    }

    /// Its requests are numbered from here: a restarted one takes no answer for its own.
    #[must_use]
    pub fn numbered_from(mut self, number: u64) -> Self {
        self.next = number;
        self
    }

    /// Who it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision that it leads by, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> Option<Revision> {
        match self.stand {
            Stand::Leads(revision) => Some(revision),
            _ => None,
        }
    }

    /// What it knows of the cluster.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The cluster as the planner sees it now.
    #[must_use]
    pub fn world(&self, now: Duration) -> crate::plan::World {
        rounds::world(&self.mirror, &self.brake, self.patience, now)
    }

    /// Whether it has read everything and hears of changes.
    #[must_use]
    pub fn knows(&self) -> bool {
        self.stand != Stand::Blind
    }

    /// How long it may sleep when nothing happens: until its lease wants to be kept, or the brake and
    /// the waits for lost machines to be looked at.
    #[must_use]
    pub fn rest(&self) -> Duration {
        let lost = self.mirror.machines.len() > self.mirror.alive.len();
        let busy = (lost || rollout::Pace::is_busy(&self.mirror)) && self.leads().is_some();
        self.patience.ttl / if busy { 20 } else { 6 }
    }

    /// One step: what happened, and what to ask for now.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Ask> {
        match input {
            Input::Tick => {}
            Input::Reply(number, reply) => self.reply(number, reply, now),
            Input::Watched(number, watched) if self.watch == Some(number) => {
                self.watched(watched, now);
            }
            Input::Watched(..) => {}
        }
        self.wants(now)
    }

    fn hear(&mut self, now: Duration) {
        if now.saturating_sub(self.heard) > self.patience.ttl / 2 {
            self.brake.stalled(now);
        }
        self.heard = now;
    }

    fn reply(&mut self, number: u64, reply: Reply, now: Duration) {
        let Some(purpose) = self.asked.remove(&number) else {
            return;
        };
        if reply != Reply::Unknown {
            self.hear(now);
        }
        match (purpose, reply) {
            (Purpose::Lease, Reply::Granted(lease)) => self.lease = Some((lease, now)),
            (Purpose::KeepAlive(sent), Reply::KeptAlive) => {
                if let Some((_, kept)) = &mut self.lease {
                    *kept = (*kept).max(sent);
                }
            }
            (Purpose::KeepAlive(_), Reply::NoSuchLease) => self.give_up(),
            (Purpose::Read, Reply::Read { revision, items }) => {
                self.mirror = Mirror::of(revision, &items);
                self.missing(now);
                self.stand = Stand::Follows;
                self.resume(now);
            }
            (
                Purpose::Campaign,
                Reply::Txn {
                    revision,
                    done: true,
                },
            ) => self.elected(revision, now),
            (Purpose::Round | Purpose::Brake, Reply::Txn { revision, done }) => {
                if done {
                    self.settled_at = self.settled_at.max(revision);
                }
                self.changed |= !done;
            }
            // It may have been done: only a new reading tells.
            (Purpose::Campaign | Purpose::Round | Purpose::Brake, Reply::Unknown) => self.blind(),
            _ => {}
        }
    }

    /// After a reading: it leads if the key is its own, whether or not it ever heard so.
    fn resume(&mut self, now: Duration) {
        self.changed = true;
        let own = |leader: &&(Revision, String)| leader.1 == self.name;
        let Some((revision, _)) = self.mirror.leader.clone().filter(|l| own(&l)) else {
            return;
        };
        if self.led == Some(revision) {
            self.stand = Stand::Leads(revision);
        } else {
            self.elected(revision, now);
        }
    }

    fn elected(&mut self, revision: Revision, now: Duration) {
        self.stand = Stand::Leads(revision);
        self.led = Some(revision);
        self.brake = Brake::new(self.patience.ttl, now);
        self.missing(now);
        if self.mirror.brake {
            self.brake.inherit(self.mirror.machines.len());
        }
        self.changed = true;
    }

    /// Counts the machines without a lease as lost from now on. Those that have nothing placed are
    /// no news: they were dealt with.
    fn missing(&mut self, now: Duration) {
        let machines = self.mirror.machines.len();
        let busy: BTreeSet<_> = self
            .mirror
            .placed
            .values()
            .flat_map(BTreeMap::keys)
            .collect();
        let gone = |id: &&_| !self.mirror.alive.contains(*id) && busy.contains(*id);
        let gone: Vec<_> = self.mirror.machines.keys().filter(gone).cloned().collect();
        for id in gone {
            self.brake.lost(id, machines, now);
        }
        for id in &self.mirror.alive {
            self.brake.returned(id, machines);
        }
    }

    fn blind(&mut self) {
        self.stand = Stand::Blind;
        self.watch = None;
    }

    /// Its lease is gone, and with it the leader's key, if it had it.
    fn give_up(&mut self) {
        self.lease = None;
        if matches!(self.stand, Stand::Leads(_)) {
            self.stand = Stand::Follows;
        }
    }

    fn watched(&mut self, watched: Watched, now: Duration) {
        self.hear(now);
        let Watched::Changes(revision, changes) = watched else {
            return self.blind();
        };
        let braked = self.mirror.brake;
        for change in &changes {
            self.mirror.change(change);
            self.presence(change, now);
        }
        self.mirror.revision = self.mirror.revision.max(revision);
        self.changed |= !changes.is_empty();
        if braked && !self.mirror.brake {
            self.brake.lift();
        }
        self.deposed();
    }

    /// The leader's key is not its own, and the mirror is as new as its election.
    fn deposed(&mut self) {
        let Stand::Leads(own) = self.stand else {
            return;
        };
        let held = self
            .mirror
            .leader
            .as_ref()
            .is_some_and(|(at, _)| *at == own);
        if self.mirror.revision >= own && !held {
            self.stand = Stand::Follows;
        }
    }

    fn presence(&mut self, change: &Change, now: Duration) {
        let machines = self.mirror.machines.len();
        let (key, there) = match change {
            Change::Put(item) => (&item.key, true),
            Change::Deleted { key, .. } => (key, false),
        };
        match (key.parse(), there) {
            (Ok(Key::Alive(id)), true) => self.brake.returned(&id, machines),
            (Ok(Key::Alive(id)), false) => self.brake.lost(id, machines, now),
            (Ok(Key::Machine(id)), false) => self.brake.forgotten(&id),
            _ => {}
        }
    }

    /// What has to be asked now, and is not asked yet.
    fn wants(&mut self, now: Duration) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.live(now, &mut asks);
        if self.stand == Stand::Blind {
            if !self.asking(|p| matches!(p, Purpose::Read)) {
                self.ask(Purpose::Read, Request::Read(vec![String::new()]), &mut asks);
            }
            return asks;
        }
        self.watch(&mut asks);
        match self.stand {
            Stand::Leads(revision) => self.lead(revision, now, &mut asks),
            _ => self.campaign(&mut asks),
        }
        asks
    }

    fn live(&mut self, now: Duration, asks: &mut Vec<Ask>) {
        let ttl = self.patience.ttl;
        match self.lease {
            // On its own clock, from the moment of sending: never later than etcd's.
            Some((_, kept)) if now.saturating_sub(kept) >= ttl => self.give_up(),
            Some((lease, kept)) if now.saturating_sub(kept) >= ttl / 3 => {
                let soon = |p: &Purpose| matches!(p, Purpose::KeepAlive(at) if now.saturating_sub(*at) < ttl / 6);
                if !self.asking(soon) {
                    self.ask(Purpose::KeepAlive(now), Request::KeepAlive(lease), asks);
                }
            }
            Some(_) => {}
            None if !self.asking(|p| matches!(p, Purpose::Lease)) => {
                self.ask(Purpose::Lease, Request::Grant(ttl), asks);
            }
            None => {}
        }
    }

    /// A reading is followed by one watch, from the revision after it.
    fn watch(&mut self, asks: &mut Vec<Ask>) {
        if self.watch.is_none() {
            self.next += 1;
            self.watch = Some(self.next);
            let from = self.mirror.revision + 1;
            asks.push(Ask(self.next, Request::Watch(vec![String::new()], from)));
        }
    }

    fn campaign(&mut self, asks: &mut Vec<Ask>) {
        let Some((lease, _)) = self.lease.filter(|_| self.mirror.leader.is_none()) else {
            return;
        };
        if self.asking(|p| matches!(p, Purpose::Campaign)) {
            return;
        }
        let value = encode(&self.name);
        let txn = Txn {
            when: vec![Compare::Created(Key::Leader, 0)],
            then: vec![Write::Put {
                key: Key::Leader,
                value,
                lease: Some(lease),
            }],
        };
        self.ask(Purpose::Campaign, Request::Txn(txn), asks);
    }

    fn lead(&mut self, revision: Revision, now: Duration, asks: &mut Vec<Ask>) {
        let busy = self.asking(|p| matches!(p, Purpose::Round | Purpose::Brake));
        let lost = self.mirror.machines.len() > self.mirror.alive.len();
        let waits = lost || rollout::Pace::is_busy(&self.mirror);
        let waits = waits && now.saturating_sub(self.planned) >= self.patience.ttl / 20;
        if busy || self.mirror.revision < self.settled_at || !(self.changed || waits) {
            return;
        }
        self.changed = false;
        self.planned = now;
        let machines = self.mirror.machines.len();
        let mass = matches!(
            self.brake.held(machines, now),
            Some(crate::brake::Held::MassLoss { .. })
        );
        if mass != self.mirror.brake {
            let write = if mass {
                Write::Put {
                    key: Key::Brake,
                    value: b"true".to_vec(),
                    lease: None,
                }
            } else {
                Write::Delete(Key::Brake)
            };
            let when = vec![Compare::Created(Key::Leader, revision)];
            self.ask(
                Purpose::Brake,
                Request::Txn(Txn {
                    when,
                    then: vec![write],
                }),
                asks,
            );
        }
        let world = rounds::world(&self.mirror, &self.brake, self.patience, now);
        #[cfg(any(test, feature = "sim"))]
        let world = sabotage::world(world, self.sabotage);
        let verdict = self.pace.judge(&self.mirror, now);
        for txn in rounds::round(&self.mirror, &world, &verdict, revision) {
            self.ask(Purpose::Round, Request::Txn(txn), asks);
        }
    }

    fn asking(&self, is: impl Fn(&Purpose) -> bool) -> bool {
        self.asked.values().any(is)
    }

    fn ask(&mut self, purpose: Purpose, request: Request, asks: &mut Vec<Ask>) {
        self.next += 1;
        self.asked.insert(self.next, purpose);
        asks.push(Ask(self.next, request));
    }
}
