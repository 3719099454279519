//! `Rollout=`: how a changed text of a template goes round its instances.
//!
//! Numbers only; who may be changed now is the engine's to say.

use std::time::Duration;

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// So many are changed at once.
    pub batch: u32,
    /// So many may be down at once, for whatever reason.
    pub unavailable: u32,
    /// One that was changed has to run for so long.
    pub settle: Duration,
    /// One that does not run after this long has failed.
    pub wait: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            batch: 1,
            unavailable: 1,
            settle: Duration::from_secs(5),
            wait: Duration::from_secs(120),
        }
    }
}

impl Rollout {
    /// Takes one word, like `batch=2`.
    pub(super) fn word(&mut self, word: &str) -> Result<(), String> {
        let bad = || {
            format!(
                "expected batch=N, unavailable=N, settle=Ns or wait=Ns with N of 1 to 10000, found \"{word}\""
            )
        };
        let (key, value) = word.split_once('=').ok_or_else(bad)?;
        let digits = value.strip_suffix('s').unwrap_or(value);
        let number = digits.parse::<u32>().ok();
        let number = number
            .filter(|n| (1..=10_000).contains(n))
            .ok_or_else(bad)?;
        let time = Duration::from_secs(number.into());
        match key {
            "batch" => self.batch = number,
            "unavailable" => self.unavailable = number,
            "settle" => self.settle = time,
            "wait" => self.wait = time,
            _ => return Err(bad()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbers_and_seconds() {
        let mut rollout = Rollout::default();
        for word in ["batch=2", "unavailable=3", "settle=1s", "wait=30"] {
            rollout.word(word).unwrap();
        }
        assert_eq!((rollout.batch, rollout.unavailable), (2, 3));
        assert_eq!(rollout.wait, Duration::from_secs(30));
        for word in ["batch", "batch=0", "batch=x", "speed=1", "wait=20000s"] {
            assert!(rollout.word(word).unwrap_err().contains(word));
        }
    }
}
