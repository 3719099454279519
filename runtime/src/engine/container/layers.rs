//! Who has a container's layers put together: its process, or somebody who copies files of a stopped one.
//!
//! Two overlays over one upper layer are undefined to the kernel. It knows no paths and mounts nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::engine::error::Error;

/// How long a start waits for those who copy: a client that reads no more must not hold it for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The right to a container's layers; a clone is the right to the same.
#[derive(Debug, Clone, Default)]
pub struct Layers(Arc<Mutex<()>>);

/// The layers are its holder's until it is dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl Layers {
    /// For somebody who copies files, once nobody else has them.
    pub async fn look(&self) -> Held {
        Held(self.0.clone().lock_owned().await)
    }

    /// For a start.
    ///
    /// # Errors
    /// Somebody has copied files for a minute and goes on.
    pub async fn start(&self) -> Result<Held, Error> {
        self.within(PATIENCE).await
    }

    async fn within(&self, patience: Duration) -> Result<Held, Error> {
        let held = tokio::time::timeout(patience, self.look()).await;
        held.map_err(|_| {
            Error::conflict(format!(
                "its files have been copied for {} s: wait for that or end it",
                patience.as_secs()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_waits_for_a_copy_and_not_for_ever() {
        let layers = Layers::default();
        let copy = layers.look().await;
        let refused = layers.within(Duration::ZERO).await.unwrap_err();
        assert!(
            refused.message.contains("copied for"),
            "{}",
            refused.message
        );
        let (started, ()) = tokio::join!(layers.start(), async { drop(copy) });
        // And the other way round.
        let look = tokio::time::timeout(Duration::ZERO, layers.look()).await;
        assert!(look.is_err());
        drop(started.unwrap());
        layers.look().await;
    }
}
