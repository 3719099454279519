//! What engine and agents ask of etcd, as values: reads, watches, leases, transactions.
//!
//! The real client and the simulator's model answer the same requests; nothing here waits or retries.

use formats::fleet::Key;
use std::time::Duration;

/// etcd's revision: of the store, or of a key's last change. 0 means never.
pub type Revision = i64;

/// A lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key was created at this revision; 0: it is not there.
    Created(Key, Revision),
    /// The key last changed at this revision; 0: it is not there.
    Modified(Key, Revision),
}

/// A change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key.
        key: Key,
        /// Its value.
        value: Vec<u8>,
        /// The lease that it ends with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key.
    Delete(Key),
}

/// All or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// All of these hold …
    pub when: Vec<Compare>,
    /// … or none of these is done.
    pub then: Vec<Write>,
}

/// Changes in one transaction: etcd takes 128, and 1.5 MiB in all.
pub const BATCH: usize = 60;
/// Conditions in one transaction: etcd takes 128.
pub const CONDITIONS: usize = 128;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A lease that lives for this long after its last keep-alive.
    Grant(Duration),
    /// Keep a lease alive.
    KeepAlive(LeaseId),
    /// All keys below these prefixes, at one revision.
    Read(Vec<String>),
    /// From this revision on, every change below these prefixes. The answers come as [`Watched`].
    Watch(Vec<String>, Revision),
    /// A transaction.
    Txn(Txn),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// As it stands in etcd: it need be no key of ours.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// When it was created.
    pub created: Revision,
    /// When it last changed.
    pub modified: Revision,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The lease.
    Granted(LeaseId),
    /// It lives on.
    KeptAlive,
    /// It is no more.
    NoSuchLease,
    /// What was read.
    Read {
        /// At this revision.
        revision: Revision,
        /// These.
        items: Vec<Item>,
    },
    /// A transaction's end.
    Txn {
        /// The revision after it.
        revision: Revision,
        /// Whether its conditions held.
        done: bool,
    },
    /// No answer came in time: it may have been done or not.
    Unknown,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key was set.
    Put(Item),
    /// A key is gone, deleted or by its lease.
    Deleted {
        /// The key.
        key: String,
        /// At this revision.
        revision: Revision,
    },
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Changes up to and with this revision, in order.
    Changes(Revision, Vec<Change>),
    /// It ended: the connection broke, or the revision was compacted. Read again.
    Ended,
}
