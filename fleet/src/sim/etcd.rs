//! A model of etcd: keys with revisions, leases, transactions, watches, compaction, stalls.
//!
//! One linear history, as raft gives it; which member answers is not modelled.

use crate::store::{Change, Compare, Item, LeaseId, Reply, Request, Revision, Txn, Watched, Write};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Stored {
    item: Item,
    lease: Option<LeaseId>,
}

/// A watch: whose, under which number, below which prefixes.
#[derive(Debug, Clone)]
struct Watch {
    prefixes: Vec<String>,
    sent: Revision,
}

/// The store.
#[derive(Debug, Clone, Default)]
pub struct Etcd {
    revision: Revision,
    keys: BTreeMap<String, Stored>,
    history: Vec<(Revision, Change)>,
    compacted: Revision,
    traced: Revision,
    leases: BTreeMap<LeaseId, (Duration, Duration)>,
    last_lease: i64,
    watches: BTreeMap<(usize, u64), Watch>,
}

impl Etcd {
    /// Answers a request of `client`; a watch has no answer of its own.
    pub fn ask(
        &mut self,
        client: usize,
        number: u64,
        request: &Request,
        now: Duration,
    ) -> Option<Reply> {
        match request {
            Request::Grant(ttl) => {
                self.last_lease += 1;
                let id = LeaseId(self.last_lease);
                self.leases.insert(id, (*ttl, now + *ttl));
                Some(Reply::Granted(id))
            }
            Request::KeepAlive(id) => Some(match self.leases.get_mut(id) {
                Some((ttl, end)) => {
                    *end = now + *ttl;
                    Reply::KeptAlive
                }
                None => Reply::NoSuchLease,
            }),
            Request::Read(prefixes) => Some(Reply::Read {
                revision: self.revision,
                items: self.below(prefixes),
            }),
            Request::Watch(prefixes, from) => {
                let prefixes = prefixes.clone();
                let sent = from - 1;
                self.watches.retain(|(who, _), _| *who != client);
                self.watches
                    .insert((client, number), Watch { prefixes, sent });
                None
            }
            Request::Txn(txn) => Some(self.txn(txn)),
        }
    }

    fn below(&self, prefixes: &[String]) -> Vec<Item> {
        let inside = |key: &str| prefixes.iter().any(|p| key.starts_with(p.as_str()));
        let items = self.keys.values().map(|stored| &stored.item);
        items.filter(|item| inside(&item.key)).cloned().collect()
    }

    /// Whether a transaction changes a key twice: etcd refuses the whole of it.
    fn is_refused(txn: &Txn) -> bool {
        let key = |write: &Write| {
            let (Write::Put { key, .. } | Write::Delete(key)) = write;
            key.to_string()
        };
        let keys: std::collections::BTreeSet<String> = txn.then.iter().map(key).collect();
        keys.len() < txn.then.len()
    }

    fn txn(&mut self, txn: &Txn) -> Reply {
        if Self::is_refused(txn) {
            return Reply::Unknown;
        }
        let done = self.would(txn);
        if done && !txn.then.is_empty() {
            self.revision += 1;
            for write in &txn.then {
                self.write(write);
            }
        }
        let revision = self.revision;
        Reply::Txn { revision, done }
    }

    /// Whether a transaction would be done now.
    pub fn would(&self, txn: &Txn) -> bool {
        !Self::is_refused(txn)
            && txn.when.iter().all(|compare| self.holds(compare))
            && self.leased(txn)
    }

    fn holds(&self, compare: &Compare) -> bool {
        let item = |key: &formats::fleet::Key| self.keys.get(&key.to_string()).map(|s| &s.item);
        match compare {
            Compare::Created(key, at) => item(key).map_or(0, |i| i.created) == *at,
            Compare::Modified(key, at) => item(key).map_or(0, |i| i.modified) == *at,
        }
    }

    fn leased(&self, txn: &Txn) -> bool {
        txn.then.iter().all(|write| match write {
            Write::Put {
                lease: Some(id), ..
            } => self.leases.contains_key(id),
            _ => true,
        })
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Put { key, value, lease } => self.put(key.to_string(), value.clone(), *lease),
            Write::Delete(key) => self.delete(&key.to_string()),
        }
    }

    fn put(&mut self, key: String, value: Vec<u8>, lease: Option<LeaseId>) {
        let created = self
            .keys
            .get(&key)
            .map_or(self.revision, |s| s.item.created);
        let item = Item {
            key: key.clone(),
            value,
            created,
            modified: self.revision,
        };
        self.history
            .push((self.revision, Change::Put(item.clone())));
        self.keys.insert(key, Stored { item, lease });
    }

    fn delete(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            let (key, revision) = (key.to_owned(), self.revision);
            self.history
                .push((revision, Change::Deleted { key, revision }));
        }
    }

    /// A client that knows no rules: it writes any bytes to any key.
    pub fn poke(&mut self, key: &str, value: Option<&[u8]>) {
        self.revision += 1;
        match value {
            Some(value) => self.put(key.to_owned(), value.to_vec(), None),
            None => self.delete(key),
        }
    }

    /// What changed since this was last asked, in words.
    pub fn untraced(&mut self) -> Vec<String> {
        let start = self.history.partition_point(|(at, _)| *at <= self.traced);
        self.traced = self.revision;
        let line = |(at, change): &(Revision, Change)| match change {
            Change::Put(item) => {
                let value = String::from_utf8_lossy(&item.value);
                format!("{at} {} = {}", item.key, value.escape_debug())
            }
            Change::Deleted { key, .. } => format!("{at} {key} is gone"),
        };
        self.history[start..].iter().map(line).collect()
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.keys.get(key).map(|stored| &stored.item)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Item> {
        self.keys.values().map(|stored| &stored.item)
    }

    /// Ends the leases whose time is over.
    pub fn expire(&mut self, now: Duration) {
        let over = self.leases.iter().filter(|(_, (_, end))| *end <= now);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.leases.remove(&id);
            let bound = self
                .keys
                .iter()
                .filter(|(_, stored)| stored.lease == Some(id));
            let bound: Vec<String> = bound.map(|(key, _)| key.clone()).collect();
            self.revision += i64::from(!bound.is_empty());
            bound.iter().for_each(|key| self.delete(key));
        }
    }

    /// Forgets the history so far; watches that are behind end.
    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.history.clear();
    }

    /// A client's connection broke: its watch will not go on.
    pub fn hang_up(&mut self, client: usize) -> Option<u64> {
        let number = self.watches.keys().find(|(who, _)| *who == client)?.1;
        self.watches.remove(&(client, number));
        Some(number)
    }

    /// What each watch has to be told.
    pub fn news(&mut self) -> Vec<(usize, u64, Watched)> {
        let mut news = Vec::new();
        let (revision, compacted) = (self.revision, self.compacted);
        let mut ended = Vec::new();
        for ((client, number), watch) in &mut self.watches {
            if watch.sent < compacted {
                ended.push((*client, *number));
                news.push((*client, *number, Watched::Ended));
                continue;
            }
            let start = self.history.partition_point(|(at, _)| *at <= watch.sent);
            let inside = |key: &str| watch.prefixes.iter().any(|p| key.starts_with(p.as_str()));
            let changes: Vec<Change> = self.history[start..]
                .iter()
                .map(|(_, change)| change)
                .filter(|change| match change {
                    Change::Put(item) => inside(&item.key),
                    Change::Deleted { key, .. } => inside(key),
                })
                .cloned()
                .collect();
            watch.sent = revision;
            if !changes.is_empty() {
                news.push((*client, *number, Watched::Changes(revision, changes)));
            }
        }
        ended
            .iter()
            .for_each(|watch| drop(self.watches.remove(watch)));
        news
    }
}
