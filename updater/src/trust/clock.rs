//! What time it is, and what a document's dates mean by it.
//!
//! A clock that is wrong by years is told from a repository that is stale.

use super::TrustError;

/// Clocks of hosts and publishers differ by this much without anyone's fault, in seconds.
const SLACK: u64 = 24 * 3600;
/// A document that expired this long ago says more about the clock, in seconds.
const YEARS: u64 = 366 * 24 * 3600;

/// The time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since the epoch, as the host's clock has it.
    pub now: u64,
}

impl Clock {
    /// Judges a document's dates.
    ///
    /// # Errors
    /// When it has expired, or the clock cannot be right.
    pub(super) const fn judge(
        self,
        document: &'static str,
        created: u64,
        expires: u64,
    ) -> Result<(), TrustError> {
        if self.now.saturating_add(SLACK) < created {
            let behind = created - self.now;
            return Err(TrustError::ClockBehind { document, behind });
        }
        if self.now < expires {
            return Ok(());
        }
        let ago = self.now - expires;
        Err(if ago > YEARS {
            TrustError::ClockAhead { document, ago }
        } else {
            TrustError::Expired { document, ago }
        })
    }
}
