//! `.timer` units: when they elapse.
//!
//! Pure: moments come as values, and what is started stands elsewhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::calendar::Calendar;
use super::time;
use crate::engine::values;

/// When a timer elapses, and what it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timer {
    /// The unit that it starts.
    pub unit: String,
    /// By the calendar.
    pub calendar: Vec<Calendar>,
    /// After the boot.
    pub boot: Vec<Duration>,
    /// After the timer was started.
    pub active: Vec<Duration>,
    /// After the unit was started last.
    pub unit_active: Vec<Duration>,
    /// After the unit ended last.
    pub unit_inactive: Vec<Duration>,
    /// Up to so much later, the same for each host and timer.
    pub delay: Duration,
    /// What was missed while the host was down is made up for.
    pub persistent: bool,
}

/// Moments, in seconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moments {
    /// The boot.
    pub boot: i64,
    /// When the timer was started.
    pub started: i64,
    /// When it elapsed last, over boots if it is persistent.
    pub last: Option<i64>,
    /// When its unit was started last.
    pub unit_started: Option<i64>,
    /// When its unit ended last.
    pub unit_ended: Option<i64>,
}

/// Keys of `[Timer]` besides those of time.
const WHOLE: [&str; 5] = [
    "Unit",
    "Persistent",
    "RandomizedDelaySec",
    "FixedRandomDelay",
    "AccuracySec",
];

impl Timer {
    /// For the file of this path, before its lines are read.
    pub fn of(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self {
            unit: format!("{stem}.service"),
            ..Self::default()
        }
    }

    /// Takes one key of `[Timer]`; `Ok(false)` for one that it does not know.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn assign(&mut self, key: &str, value: &str) -> Result<bool, String> {
        if !WHOLE.contains(&key) && value.is_empty() {
            // As systemd: an empty value resets all times, of whichever key.
            *self = Self {
                unit: std::mem::take(&mut self.unit),
                delay: self.delay,
                persistent: self.persistent,
                ..Self::default()
            };
            return Ok(true);
        }
        let span = || time::span(value)?.ok_or_else(|| "expected a finite time".to_string());
        match key {
            "OnCalendar" => self.calendar.push(Calendar::parse(value)?),
            // The engine starts with the boot.
            "OnBootSec" | "OnStartupSec" => self.boot.push(span()?),
            "OnActiveSec" => self.active.push(span()?),
            "OnUnitActiveSec" => self.unit_active.push(span()?),
            "OnUnitInactiveSec" => self.unit_inactive.push(span()?),
            "Unit" => {
                let mut names = BTreeSet::new();
                super::container::names(&mut names, value)?;
                let mut names = names.into_iter();
                self.unit = match (names.next(), names.next()) {
                    (Some(name), None) if !name.ends_with(".timer") => name,
                    _ => return Err(format!("expected a unit that is no timer, found '{value}'")),
                };
            }
            "Persistent" => self.persistent = values::boolean(value)?,
            "RandomizedDelaySec" => self.delay = span()?,
            // Delays are the same each time here, and times exact to the second.
            "FixedRandomDelay" => drop(values::boolean(value)?),
            "AccuracySec" => drop(span()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it ever elapses.
    pub fn has_time(&self) -> bool {
        !self.calendar.is_empty()
            || [
                &self.boot,
                &self.active,
                &self.unit_active,
                &self.unit_inactive,
            ]
            .iter()
            .any(|list| !list.is_empty())
    }

    /// When it elapses next: the earliest of all its times, `None` if there is none to come.
    ///
    /// A moment may lie in the past: what is due is due.
    pub fn next(&self, moments: &Moments, now: i64) -> Option<i64> {
        let from = match (self.persistent, moments.last) {
            (true, Some(last)) => last.min(now),
            _ => moments.last.unwrap_or(moments.started).max(moments.started),
        };
        let by_calendar = self.calendar.iter().filter_map(|c| c.next(from));
        let after = |base: Option<i64>, spans: &[Duration]| {
            let seconds = |d: &Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
            let at = |d: &Duration| base.map(|base| base.saturating_add(seconds(d)));
            spans.iter().filter_map(at).collect::<Vec<_>>()
        };
        // Once: a moment that it has elapsed at, or that lay before its start, does not come again.
        let past = moments.last.unwrap_or(i64::MIN).max(moments.started - 1);
        let once = [
            after(Some(moments.boot), &self.boot),
            after(Some(moments.started), &self.active),
        ];
        let once = once.into_iter().flatten();
        let once = once.map(|at| match moments.last {
            // systemd: what was due before the timer was there is due at once.
            None => at.max(moments.started),
            Some(_) => at,
        });
        let once = once.filter(|at| moments.last.is_none() || *at > past);
        let since_unit = [
            after(moments.unit_started, &self.unit_active),
            after(moments.unit_ended, &self.unit_inactive),
        ];
        let next = by_calendar
            .chain(once)
            .chain(since_unit.into_iter().flatten())
            .min();
        next.map(|at| at.saturating_add(i64::try_from(self.delay.as_secs()).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(lines: &[(&str, &str)]) -> Timer {
        let mut timer = Timer::of(Path::new("job.timer"));
        for (key, value) in lines {
            assert!(timer.assign(key, value).unwrap(), "{key}");
        }
        timer
    }

    const DAY: i64 = 86_400;

    fn moments(started: i64) -> Moments {
        Moments {
            boot: started - 60,
            started,
            ..Moments::default()
        }
    }

    #[test]
    fn a_calendar_elapses_again_and_again() {
        let timer = timer(&[("OnCalendar", "daily")]);
        assert_eq!(timer.unit, "job.service");
        let mut at = moments(10 * DAY + 5);
        assert_eq!(timer.next(&at, at.started), Some(11 * DAY));
        at.last = Some(11 * DAY);
        assert_eq!(timer.next(&at, 11 * DAY), Some(12 * DAY));
    }

    #[test]
    fn only_a_persistent_timer_makes_up_for_what_was_missed() {
        let missed = Moments {
            last: Some(3 * DAY),
            ..moments(10 * DAY + 5)
        };
        let now = missed.started;
        let plain = timer(&[("OnCalendar", "daily")]);
        assert_eq!(plain.next(&missed, now), Some(11 * DAY));
        let persistent = timer(&[("OnCalendar", "daily"), ("Persistent", "true")]);
        assert_eq!(
            persistent.next(&missed, now),
            Some(4 * DAY),
            "due since long"
        );
        let first = moments(10 * DAY + 5);
        assert_eq!(
            persistent.next(&first, now),
            Some(11 * DAY),
            "never ran: nothing missed"
        );
    }

    #[test]
    fn times_after_the_boot_come_once_and_those_after_the_unit_each_time() {
        let timer = timer(&[("OnBootSec", "2min"), ("OnUnitActiveSec", "1h")]);
        let mut at = moments(1000);
        assert_eq!(timer.next(&at, 1000), Some(940 + 120));
        (at.last, at.unit_started) = (Some(1060), Some(1061));
        assert_eq!(timer.next(&at, 1061), Some(1061 + 3600));
        at.unit_started = Some(5000);
        assert_eq!(timer.next(&at, 5000), Some(8600));
    }

    #[test]
    fn a_boot_time_that_has_passed_is_due_at_once() {
        let timer = timer(&[("OnBootSec", "10s")]);
        assert_eq!(timer.next(&moments(1000), 1000), Some(1000));
        let done = Moments {
            last: Some(1000),
            ..moments(1000)
        };
        assert_eq!(timer.next(&done, 1001), None);
    }

    #[test]
    fn an_empty_value_resets_the_times_and_a_delay_is_added() {
        let timer = timer(&[
            ("RandomizedDelaySec", "10s"),
            ("OnCalendar", "daily"),
            ("OnBootSec", ""),
            ("OnActiveSec", "1s"),
        ]);
        assert!(timer.calendar.is_empty());
        assert_eq!(timer.next(&moments(1000), 1000), Some(1011));
    }

    #[test]
    fn a_timer_starts_no_timer() {
        let mut timer = Timer::of(Path::new("job.timer"));
        assert!(timer.assign("Unit", "other.timer").is_err());
        assert!(timer.assign("Unit", "other.container").unwrap());
        assert_eq!(timer.unit, "other.service");
        assert!(!timer.assign("WakeSystem", "yes").unwrap());
    }
}
