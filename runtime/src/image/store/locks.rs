//! One at a time per digest, and pins on what somebody needs: a running pull, or whoever has found an
//! image.
//!
//! Nothing here touches files. Locks are dropped from the table when nobody holds or awaits them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::super::digest::Digest;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A table of locks by digest.
#[derive(Debug, Default)]
pub struct Locks {
    table: Mutex<HashMap<Digest, Lock>>,
}

impl Locks {
    /// Waits until nobody else holds this digest.
    pub async fn hold(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut table = guard(&self.table);
            table.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(table.entry(digest.clone()).or_default())
        };
        lock.lock_owned().await
    }

    /// Whether somebody holds or awaits this digest.
    pub fn is_held(&self, digest: &Digest) -> bool {
        guard(&self.table)
            .get(digest)
            .is_some_and(|lock| Arc::strong_count(lock) > 1)
    }
}

/// How many need each layer or image.
#[derive(Debug, Default)]
pub struct Pins {
    counts: Mutex<HashMap<Digest, usize>>,
}

/// Pins that end with whoever holds them.
#[derive(Debug)]
pub struct Pinned {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

impl Pins {
    /// Pins some digests until the returned value is dropped.
    pub fn pin(self: &Arc<Self>, digests: Vec<Digest>) -> Pinned {
        let mut counts = guard(&self.counts);
        for digest in &digests {
            *counts.entry(digest.clone()).or_default() += 1;
        }
        drop(counts);
        Pinned {
            pins: Arc::clone(self),
            digests,
        }
    }

    /// Whether somebody needs it.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        guard(&self.counts).contains_key(digest)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut counts = guard(&self.pins.counts);
        for digest in &self.digests {
            let count = counts.get_mut(digest).map(|n| {
                *n -= 1;
                *n
            });
            if count == Some(0) {
                counts.remove(digest);
            }
        }
    }
}

/// A poisoned table is as good as any: it holds only counts.
pub fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_digest_is_held_by_one_at_a_time_and_others_are_not_kept_waiting() {
        let locks = Locks::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let held = locks.hold(&a).await;
        assert!(locks.is_held(&a) && !locks.is_held(&b));
        let _other = locks.hold(&b).await;
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(20), locks.hold(&a))
                .await
                .is_err()
        );
        drop(held);
        drop(locks.hold(&a).await);
        assert!(!locks.is_held(&a));
    }

    #[test]
    fn a_pin_lasts_as_long_as_the_last_pull_that_needs_it() {
        let pins = Arc::new(Pins::default());
        let a = Digest::of(b"a");
        let first = pins.pin(vec![a.clone(), a.clone()]);
        let second = pins.pin(vec![a.clone()]);
        drop(first);
        assert!(pins.is_pinned(&a));
        drop(second);
        assert!(!pins.is_pinned(&a));
        assert!(guard(&pins.counts).is_empty());
    }
}
