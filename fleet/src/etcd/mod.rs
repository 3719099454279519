//! The store's edge on a real etcd v3: requests in, events out, in the values of [`crate::store`].
//!
//! It retries nothing and decides nothing: what is not known to be done is [`Reply::Unknown`], and what
//! cannot go on (another cluster, a restored backup) is [`Event::Stop`].

mod calls;
mod config;
pub mod init;
mod keeper;
mod link;
mod seen;
mod trouble;
mod watching;

pub use config::{BadConfig, Config};
pub use link::Health;
pub use seen::Seen;
pub use trouble::Trouble;

use crate::store::{LeaseId, Reply, Request, Watched};
use link::Link;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer to the request of this number.
    Reply(u64, Reply),
    /// What the watch of this number tells.
    Watched(u64, Watched),
    /// Nothing may be done with this etcd any more, and why.
    Stop(String),
}

/// An etcd, seen by one client.
#[derive(Debug)]
pub struct Store {
    link: Arc<Link>,
    events: mpsc::UnboundedSender<Event>,
    keeper: mpsc::UnboundedSender<(u64, LeaseId)>,
    watching: Option<AbortHandle>,
}

impl Store {
    /// One for these members, and where its events come. It connects when it is first asked.
    ///
    /// # Errors
    /// Files of the configuration that cannot be read.
    pub fn new(
        config: &Config,
        seen: Seen,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), BadConfig> {
        let (events, received) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(config, seen, events.clone())?);
        let keeper = keeper::start(Arc::clone(&link), events.clone());
        let store = Self {
            link,
            events,
            keeper,
            watching: None,
        };
        Ok((store, received))
    }

    /// How it stands with etcd.
    #[must_use]
    pub fn health(&self) -> Health {
        self.link.health()
    }

    /// Asks; the answer comes as an event. A new watch ends the one before.
    pub fn ask(&mut self, number: u64, request: Request) {
        match request {
            Request::KeepAlive(lease) => {
                let _ = self.keeper.send((number, lease));
            }
            Request::Watch(prefixes, from) => {
                let (link, events) = (Arc::clone(&self.link), self.events.clone());
                let task = tokio::spawn(watching::watch(link, events, number, prefixes, from));
                if let Some(before) = self.watching.replace(task.abort_handle()) {
                    before.abort();
                }
            }
            request => {
                let (link, events) = (Arc::clone(&self.link), self.events.clone());
                tokio::spawn(async move {
                    let reply = calls::call(&link, request).await;
                    let _ = events.send(Event::Reply(number, reply));
                });
            }
        }
    }

    /// Asks and waits, for those who are no state machine.
    pub async fn call(&self, request: Request) -> Result<Reply, Trouble> {
        calls::once(&self.link, request).await
    }

    /// The same etcd for another who calls and waits.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.link))
    }
}

/// Calls and waits; it has no watch and no lease of its own.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Link>);

impl Caller {
    /// Asks once.
    ///
    /// # Errors
    /// Why it is not known to be done.
    pub async fn call(&self, request: Request) -> Result<Reply, Trouble> {
        calls::once(&self.0, request).await
    }

    /// How it stands with etcd.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health()
    }
}
