//! The pause before a restart: doubling, bounded, jittered.
//!
//! Pure: randomness comes as a seed, so the same seed gives the same pauses.

use std::time::Duration;

/// No pause is longer, unless the service's own `RestartSec=` is.
pub const LONGEST: Duration = Duration::from_secs(30);
/// A service that ran this long before it failed starts again as if it had never failed.
pub const STABLE: Duration = Duration::from_secs(30);

/// The pause before the restart after `failures` failures in a row (from 1), within ±25 %.
#[must_use]
pub fn pause(first: Duration, failures: u32, random: &mut Random) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let whole = first.saturating_mul(1 << doublings);
    let bounded = whole.min(LONGEST.max(first));
    let quarter = bounded / 4;
    let spread = u64::try_from(quarter.as_micros() * 2).unwrap_or(u64::MAX);
    let offset = if spread == 0 {
        0
    } else {
        random.next() % (spread + 1)
    };
    bounded - quarter + Duration::from_micros(offset)
}

/// A small generator (xorshift64*): spreads restarts, guards no secret.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts at a seed; 0 is as good as any other.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_bound_and_a_quarter(
            first in 0u64..100_000, failures: u32, seed: u64
        ) {
            let first = Duration::from_millis(first);
            let pause = pause(first, failures, &mut Random::new(seed));
            prop_assert!(pause <= LONGEST.max(first) * 5 / 4);
            prop_assert!(pause >= first * 3 / 4);
        }
    }

    #[test]
    fn pauses_double_and_two_hosts_do_not_restart_in_step() {
        let first = Duration::from_millis(100);
        let mut random = Random::new(7);
        let fourth = pause(first, 4, &mut random);
        assert!(fourth >= Duration::from_millis(600) && fourth <= Duration::from_secs(1));
        let other = pause(first, 4, &mut Random::new(8));
        assert_ne!(fourth, other);
    }
}
