//! Counts what was checked: whole checks (format, lints) and the single tests of a test run.
//!
//! It reads libtest's summary lines; a run that ends badly without one counts as one failure.

use std::fmt;

/// Passed and failed so far, with the names of what failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many passed.
    pub passed: u32,
    /// How many failed.
    pub failed: u32,
    /// What failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Counts a check that is one thing.
    pub fn check(&mut self, name: &str, good: bool) {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// Reads a line of libtest.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
        if let Some((passed, failed)) = summary(line) {
            self.passed += passed;
            self.failed += failed;
        }
    }

    /// Adds what a run counted. `good` is the run's own verdict.
    pub fn add(&mut self, name: &str, run: Self, good: bool) {
        self.passed += run.passed;
        self.failed += run.failed;
        self.failures.extend(run.failures);
        if !good && run.failed == 0 {
            self.check(name, false);
        }
    }
}

/// `test result: ok. 9 passed; 0 failed; …` → (9, 0).
fn summary(line: &str) -> Option<(u32, u32)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| -> Option<u32> {
        let before = &rest[..rest.find(word)?];
        before.split_whitespace().last()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "  failed: {failure}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_is_read() {
        let mut tally = Tally::default();
        tally.line("test a::b ... FAILED");
        tally.line("test result: FAILED. 9 passed; 1 failed; 0 ignored; 0 measured");
        assert_eq!((tally.passed, tally.failed), (9, 1));
        assert_eq!(tally.failures, ["a::b"]);
    }

    #[test]
    fn a_run_that_dies_without_a_summary_is_a_failure() {
        let mut tally = Tally::default();
        tally.add("cargo test", Tally::default(), false);
        assert_eq!(
            tally.to_string(),
            "  failed: cargo test\n0 passed, 1 failed"
        );
    }
}
