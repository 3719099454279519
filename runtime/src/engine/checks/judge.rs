//! What a container's checks say of it, as a value: results in, judgements and the next moment out.
//!
//! No clock and no process: `now` comes with each result.

use std::time::Duration;

use super::check::Run;
use crate::engine::options::HealthCheck;
use crate::engine::record::Health;

/// What follows from a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing new.
    Nothing,
    /// It is judged otherwise than before.
    Judged(Health),
    /// It is given up before its check has begun.
    GivenUp,
}

/// The judgement of one run of a container.
#[derive(Debug, Clone)]
pub struct Judge {
    check: HealthCheck,
    begun: Duration,
    health: Health,
    streak: u32,
    /// Passes in a row and failures in all of the check that comes first, until it is over.
    startup: Option<(u32, u32)>,
    due: Option<Duration>,
}

impl Judge {
    /// Of a run that began `age` ago and was judged so before.
    pub fn new(check: HealthCheck, health: Option<Health>, age: Duration, now: Duration) -> Self {
        let health = health.unwrap_or(Health::Starting);
        let mut judge = Self {
            begun: now.saturating_sub(age),
            startup: (check.startup.is_some() && health == Health::Starting).then_some((0, 0)),
            streak: if health == Health::Unhealthy {
                check.most_failures()
            } else {
                0
            },
            check,
            health,
            due: None,
        };
        judge.due = if judge.check.at_once {
            Some(now)
        } else {
            judge.next(now)
        };
        judge
    }

    /// When the next check is due; never when absent.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What is to be run then.
    pub fn run(&self) -> Run {
        let first = self.startup.and_then(|_| self.check.startup_run());
        first.unwrap_or_else(|| self.check.run())
    }

    /// The check that it judges by.
    pub fn check(&self) -> &HealthCheck {
        &self.check
    }

    /// Failures in a row.
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// It was not checked this time.
    pub fn passed_over(&mut self, now: Duration) {
        self.due = self.next(now);
    }

    /// Takes a result.
    pub fn ended(&mut self, passed: bool, now: Duration) -> Follows {
        let follows = match self.startup {
            Some((passes, failures)) => self.started(passed, passes, failures),
            None => self.judged(passed, now),
        };
        self.due = match self.startup {
            // The check itself follows at once.
            None if follows == Follows::Nothing && self.health == Health::Starting && passed => {
                Some(now)
            }
            _ => self.next(now),
        };
        follows
    }

    fn started(&mut self, passed: bool, passes: u32, failures: u32) -> Follows {
        let (retries, success) = self
            .check
            .startup
            .as_ref()
            .map_or((0, 0), |s| (s.retries, s.success));
        let (passes, failures) = match passed {
            true => (passes + 1, failures),
            false => (0, failures + 1),
        };
        self.streak = failures;
        if passes >= success.max(1) {
            (self.startup, self.streak) = (None, 0);
            return Follows::Nothing;
        }
        self.startup = Some((passes, failures));
        match retries > 0 && failures >= retries {
            true => Follows::GivenUp,
            false => Follows::Nothing,
        }
    }

    fn judged(&mut self, passed: bool, now: Duration) -> Follows {
        let before = self.health;
        if passed {
            (self.streak, self.health) = (0, Health::Healthy);
        } else if before != Health::Starting || !self.in_start_period(now) {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= self.check.most_failures() {
                self.health = Health::Unhealthy;
            }
        }
        match self.health == before {
            true => Follows::Nothing,
            false => Follows::Judged(self.health),
        }
    }

    fn in_start_period(&self, now: Duration) -> bool {
        now.saturating_sub(self.begun) < self.check.start_period()
    }

    fn next(&self, now: Duration) -> Option<Duration> {
        let pause = if self.startup.is_some() {
            self.check.startup_interval()?
        } else if self.health == Health::Starting && self.in_start_period(now) {
            self.check.start_interval()
        } else {
            self.check.interval()?
        };
        Some(now.saturating_add(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{NEVER, StartupCheck};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn check() -> HealthCheck {
        HealthCheck {
            test: Some(vec!["true".into()]),
            interval_ms: Some(10_000),
            retries: Some(2),
            ..HealthCheck::default()
        }
    }

    fn judge(check: HealthCheck) -> Judge {
        Judge::new(check, None, at(0), at(100))
    }

    #[test]
    fn it_takes_as_many_failures_in_a_row_and_one_pass_heals() {
        let mut judge = judge(check());
        assert_eq!(judge.due(), Some(at(110)));
        assert_eq!(judge.ended(true, at(110)), Follows::Judged(Health::Healthy));
        assert_eq!(judge.ended(false, at(120)), Follows::Nothing);
        assert_eq!(judge.ended(true, at(130)), Follows::Nothing);
        assert_eq!(judge.ended(false, at(140)), Follows::Nothing);
        assert_eq!(
            judge.ended(false, at(150)),
            Follows::Judged(Health::Unhealthy)
        );
        assert_eq!(judge.ended(false, at(160)), Follows::Nothing);
        assert_eq!(judge.ended(true, at(170)), Follows::Judged(Health::Healthy));
        assert_eq!(judge.due(), Some(at(180)));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_a_check_has_passed() {
        let period = HealthCheck {
            start_period_ms: Some(60_000),
            start_interval_ms: Some(1000),
            ..check()
        };
        let mut slow = judge(period.clone());
        assert_eq!(slow.due(), Some(at(101)));
        for second in 101..160 {
            assert_eq!(slow.ended(false, at(second)), Follows::Nothing);
        }
        assert_eq!(slow.ended(false, at(160)), Follows::Nothing);
        assert_eq!(slow.due(), Some(at(170)));
        assert_eq!(
            slow.ended(false, at(170)),
            Follows::Judged(Health::Unhealthy)
        );
        let mut fickle = judge(period);
        fickle.ended(true, at(101));
        assert_eq!(fickle.due(), Some(at(111)));
        fickle.ended(false, at(111));
        assert_eq!(
            fickle.ended(false, at(112)),
            Follows::Judged(Health::Unhealthy)
        );
    }

    #[test]
    fn the_startup_check_comes_first_and_gives_up_after_its_retries() {
        let both = HealthCheck {
            startup: Some(StartupCheck {
                test: vec!["up".into()],
                interval_ms: Some(2000),
                retries: 3,
                success: 2,
                ..StartupCheck::default()
            }),
            at_once: true,
            ..check()
        };
        let mut judge = judge(both.clone());
        assert_eq!(
            (judge.due(), &judge.run().command[0][..]),
            (Some(at(100)), "up")
        );
        assert_eq!(judge.ended(false, at(100)), Follows::Nothing);
        assert_eq!(judge.due(), Some(at(102)));
        assert_eq!(judge.ended(true, at(102)), Follows::Nothing);
        assert_eq!(judge.run().command, ["up"]);
        assert_eq!(judge.ended(true, at(104)), Follows::Nothing);
        assert_eq!(
            (judge.due(), &judge.run().command[0][..]),
            (Some(at(104)), "true")
        );
        let mut dead = Judge::new(both, None, at(0), at(0));
        dead.ended(false, at(0));
        dead.ended(false, at(2));
        assert_eq!(dead.ended(false, at(4)), Follows::GivenUp);
    }

    #[test]
    fn a_later_engine_goes_on_with_the_judgement_of_the_one_before() {
        let mut judge = Judge::new(check(), Some(Health::Unhealthy), at(500), at(3));
        assert_eq!(judge.ended(false, at(13)), Follows::Nothing);
        assert_eq!(judge.ended(true, at(23)), Follows::Judged(Health::Healthy));
    }

    #[test]
    fn an_interval_that_is_switched_off_checks_never() {
        let never = HealthCheck {
            interval_ms: Some(NEVER),
            ..check()
        };
        assert_eq!(judge(never).due(), None);
    }
}
