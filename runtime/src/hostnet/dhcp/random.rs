//! Seeded numbers for transaction ids and jitter: the same seed gives the same run.
//!
//! Not for secrets.

use std::time::Duration;

/// A stream of numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Up to a quarter more or less than `delay`, so that a rack after a power cut does not speak
    /// with one voice.
    pub fn around(&mut self, delay: Duration) -> Duration {
        let thousandths = 750 + self.number() % 501;
        delay * u32::try_from(thousandths).unwrap_or(1000) / 1000
    }
}
