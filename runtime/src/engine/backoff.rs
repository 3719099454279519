//! Pauses between restarts: doubled each time, bounded, and spread so that containers which fail
//! together do not come back together.
//!
//! Pure: the spread comes from the container's id, so a pause can be foretold.

use std::time::Duration;

/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause before try `streak` (from 0): at least `least`, up to a quarter more than its power of two.
pub fn pause(least: Duration, streak: u32, seed: u64) -> Duration {
    let doubled = least.saturating_mul(1 << streak.min(16));
    let base = doubled.min(LONGEST.max(least));
    let spread = mix(seed ^ u64::from(streak)) % 256;
    base.saturating_add(base.mul_f64(spread as f64 / 1024.0))
}

/// A number for an id.
pub fn seed(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn mix(value: u64) -> u64 {
    let a = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    a ^ (a >> 29)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_is_never_shorter_than_asked_nor_longer_than_the_bound(
            least_ms in 0u64..300_000, streak: u32, seed: u64
        ) {
            let least = Duration::from_millis(least_ms);
            let pause = pause(least, streak, seed);
            prop_assert!(pause >= least);
            prop_assert!(pause <= LONGEST.max(least).mul_f64(1.25));
        }
    }

    #[test]
    fn two_containers_come_back_at_different_moments() {
        let second = Duration::from_secs(1);
        assert_ne!(pause(second, 3, seed("a")), pause(second, 3, seed("b")));
    }
}
