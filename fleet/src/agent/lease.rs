//! A machine's lease, as its own clock sees it.
//!
//! It counts from the moment a keep-alive was sent, so it never believes in a lease longer than etcd does.

use crate::store::LeaseId;
use std::time::Duration;

/// The lease.
#[derive(Debug, Clone)]
pub struct Lease {
    ttl: Duration,
    id: Option<LeaseId>,
    kept: Duration,
    asked: Duration,
}

impl Lease {
    /// None yet; of this time to live, when there is one.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            id: None,
            kept: Duration::ZERO,
            asked: Duration::ZERO,
        }
    }

    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The lease, if there is one.
    #[must_use]
    pub fn id(&self) -> Option<LeaseId> {
        self.id
    }

    /// A new one, that was asked for at `sent`.
    pub fn granted(&mut self, id: LeaseId, sent: Duration) {
        self.id = Some(id);
        self.kept = sent;
        self.asked = sent;
    }

    /// A keep-alive that was sent at `sent` was answered.
    pub fn kept(&mut self, sent: Duration) {
        self.kept = self.kept.max(sent);
    }

    /// It is no more.
    pub fn lost(&mut self) {
        self.id = None;
    }

    /// Whether it may have run out.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        self.id.is_some() && now.saturating_sub(self.kept) >= self.ttl
    }

    /// Until when it is certain to live.
    #[must_use]
    pub fn fed_until(&self) -> Option<Duration> {
        self.id.map(|_| self.kept + self.ttl)
    }

    /// The lease, when it is time to keep it alive: each third of its life, and until that is answered
    /// each sixth.
    pub fn due(&mut self, now: Duration) -> Option<LeaseId> {
        let id = self.id?;
        let old = now.saturating_sub(self.kept) >= self.ttl / 3;
        let asked = now.saturating_sub(self.asked) < self.ttl / 6;
        if !old || asked {
            return None;
        }
        self.asked = now;
        Some(id)
    }
}
