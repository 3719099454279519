//! How often to try again, and how long to wait before.
//!
//! Pure but for [`Retry::pause`], which sleeps. The number of tries is always bounded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::RegistryError;

/// A bounded, doubling back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all.
    pub tries: u32,
    /// The wait after the first failure; it doubles from there.
    pub first: Duration,
    /// The longest wait, also for what a registry asks by `Retry-After`.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 5,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// How long to wait after the failure number `failed` (from 1), or `None` to give up.
    /// `jitter` of 1000 is added as up to a quarter.
    #[must_use]
    pub fn wait(&self, failed: u32, error: &RegistryError, jitter: u32) -> Option<Duration> {
        if failed >= self.tries || !error.is_transient() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            // Longer than we would ever wait: the caller learns it now rather than in an hour.
            return (asked <= self.longest).then_some(asked);
        }
        let doubled = self.first.saturating_mul(1 << (failed - 1).min(16));
        let wait = doubled.min(self.longest);
        Some(wait + wait / 4 * jitter.min(1000) / 1000)
    }

    /// Waits after a failure, or hands the error back when it is final.
    ///
    /// # Errors
    /// The given error.
    pub async fn pause(&self, failed: u32, error: RegistryError) -> Result<(), RegistryError> {
        match self.wait(failed, &error, jitter()) {
            None => Err(error),
            Some(wait) => {
                tracing::debug!(%error, ?wait, "registry request failed, trying again");
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }
}

/// The clock's lowest digits: enough that a thousand hosts do not come back at once.
fn jitter() -> u32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.subsec_micros() % 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, after: Option<u64>) -> RegistryError {
        let retry_after = after.map(Duration::from_secs);
        RegistryError::Status {
            place: "a.io".into(),
            status,
            message: String::new(),
            retry_after,
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_tries_are_bounded() {
        let retry = Retry {
            tries: 10,
            ..Retry::default()
        };
        let waits: Vec<_> = (1..=10)
            .map(|n| retry.wait(n, &status(503, None), 0))
            .collect();
        let millis = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
        let expected = millis.map(|ms| Some(Duration::from_millis(ms)));
        assert_eq!(waits[..9], expected);
        assert_eq!(waits[9], None);
        let jittered = retry.wait(1, &status(503, None), 1000).unwrap();
        assert_eq!(jittered, Duration::from_millis(625));
    }

    #[test]
    fn what_cannot_heal_is_not_tried_again() {
        let retry = Retry::default();
        assert_eq!(retry.wait(1, &status(400, None), 0), None);
        assert_eq!(retry.wait(1, &RegistryError::NotFound("x".into()), 0), None);
        assert_eq!(retry.wait(1, &RegistryError::Denied("x".into()), 0), None);
    }

    #[test]
    fn the_registry_says_when_to_come_back_within_reason() {
        let retry = Retry::default();
        assert_eq!(
            retry.wait(1, &status(429, Some(7)), 0),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retry.wait(1, &status(429, Some(3600)), 0), None);
    }
}
