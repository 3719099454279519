//! One connection to one member; after an outage the next member's turn comes.
//!
//! Everything of a former connection counts as ended: a member that hangs says nothing of it itself.

use super::trouble::Trouble;
use super::{BadConfig, Config, Event, Seen, seen};
use crate::store::Revision;
use etcd_client::{Client, ConnectOptions, ResponseHeader};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// After the first failure; doubled with each one more.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Never longer than this between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How it stands with etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What is wrong now, in words.
    pub trouble: Option<String>,
    /// The member that is asked.
    pub endpoint: String,
    /// Transactions that were asked for, and watches, readings and leases, since the start.
    pub requests: u64,
}

#[derive(Debug)]
struct Now {
    failures: u32,
    trouble: Option<String>,
    since: Option<Instant>,
    seen: Seen,
    requests: u64,
}

/// The link.
pub(super) struct Link {
    endpoints: Vec<String>,
    pub(super) prefix: String,
    options: ConnectOptions,
    client: tokio::sync::Mutex<Option<(u64, Client)>>,
    generation: watch::Sender<u64>,
    now: Mutex<Now>,
    events: mpsc::UnboundedSender<Event>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({:?})", self.endpoints)
    }
}

impl Link {
    pub(super) fn new(
        config: &Config,
        seen: Seen,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Self, BadConfig> {
        let now = Now {
            failures: 0,
            trouble: None,
            since: None,
            seen,
            requests: 0,
        };
        Ok(Self {
            options: config.options()?,
            endpoints: config.endpoints.clone(),
            prefix: config.prefix.clone(),
            client: tokio::sync::Mutex::default(),
            generation: watch::Sender::new(0),
            now: Mutex::new(now),
            events,
        })
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, generation: u64) -> &str {
        let turn = usize::try_from(generation).unwrap_or_default() % self.endpoints.len();
        &self.endpoints[turn]
    }

    pub(super) fn health(&self) -> Health {
        let now = self.now();
        Health {
            trouble: now.trouble.clone(),
            endpoint: self.endpoint(*self.generation.borrow()).to_owned(),
            requests: now.requests,
        }
    }

    /// The connection of now, with its number.
    pub(super) async fn client(&self) -> Result<(u64, Client), Trouble> {
        let mut slot = self.client.lock().await;
        let generation = *self.generation.borrow();
        if let Some((of, client)) = slot.as_ref()
            && *of == generation
        {
            return Ok((generation, client.clone()));
        }
        let endpoint = self.endpoint(generation);
        let client = Client::connect([endpoint], Some(self.options.clone())).await;
        let client = client.map_err(|error| match Trouble::of(&error) {
            Trouble::Outage(text) => Trouble::Outage(format!("{endpoint}: {text}")),
            other => other,
        });
        let client = client.inspect_err(|trouble| self.failed(generation, trouble))?;
        *slot = Some((generation, client.clone()));
        Ok((generation, client))
    }

    /// Becomes ready when the connection of this number is given up.
    pub(super) async fn given_up(&self, generation: u64) {
        let mut changes = self.generation.subscribe();
        let _ = changes.wait_for(|now| *now != generation).await;
    }

    /// The revision that an answer to a request sent now must have at least.
    pub(super) fn asked_at(&self) -> Revision {
        let mut now = self.now();
        now.requests += 1;
        now.seen.now.revision
    }

    /// An answer came.
    pub(super) fn answered(
        &self,
        header: Option<&ResponseHeader>,
        asked_at: Revision,
    ) -> Result<(), Trouble> {
        let mut now = self.now();
        if let Some(header) = header {
            let found = seen::Record {
                cluster: header.cluster_id(),
                revision: header.revision(),
            };
            if let Err(text) = now.seen.answer(found, asked_at) {
                now.trouble = Some(text.clone());
                let _ = self.events.send(Event::Stop(text.clone()));
                return Err(Trouble::Stop(text));
            }
        }
        now.failures = 0;
        Ok(())
    }

    /// A write, or a reading where there is no write, went well: nothing is wrong.
    pub(super) fn well(&self) {
        let mut now = self.now();
        if now.trouble.take().is_some() {
            let since = now
                .since
                .take()
                .map_or(0, |since| since.elapsed().as_secs());
            eprintln!("<5>etcd: well again after {since} s");
        }
    }

    /// It did not go well on the connection of this number.
    pub(super) fn failed(&self, generation: u64, trouble: &Trouble) {
        let mut now = self.now();
        now.failures = now.failures.saturating_add(1);
        let text = trouble.to_string();
        if now.trouble.is_none() {
            eprintln!("<4>etcd: {text}");
            now.since = Some(Instant::now());
        }
        now.trouble = Some(text);
        drop(now);
        if trouble.is_outage() {
            self.generation.send_if_modified(|current| {
                let is = *current == generation;
                *current += u64::from(is);
                is
            });
        }
    }

    /// How long to wait before it is worth to ask again.
    pub(super) fn pause(&self, trouble: &Trouble) -> Duration {
        if !trouble.is_outage() {
            return LONGEST_PAUSE;
        }
        let failures = self.now().failures.min(10);
        (FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
    }

    /// The highest revision that was seen.
    pub(super) fn revision(&self) -> Revision {
        self.now().seen.now.revision
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.now().seen.keep();
    }
}
