//! Windows: on which days, from when on and for how long a host may go down, in local time.
//!
//! Pure; a host stages at any time, and waits for a window with the reboot.

use super::zone::{DAY, Zone, weekday};
use serde::Deserialize;

/// No window is longer, in minutes: a week.
const LONGEST: u32 = 7 * 24 * 60;

/// A day of the week, from Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Sun,
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// On which days it opens; none named: on each.
    #[serde(default)]
    days: Vec<Day>,
    /// `HH:MM`, in minutes of the day.
    #[serde(deserialize_with = "clock")]
    start: u32,
    /// For how long it is open.
    #[serde(deserialize_with = "length")]
    minutes: u32,
}

fn clock<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let parts = text.split_once(':').filter(|(_, m)| m.len() == 2);
    let number = |part: &str, below: u32| part.parse::<u32>().ok().filter(|n| *n < below);
    let minutes = parts.and_then(|(h, m)| Some(number(h, 24)? * 60 + number(m, 60)?));
    minutes.ok_or_else(|| serde::de::Error::custom(format!("start {text:?}: expected HH:MM")))
}

fn length<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let minutes = u32::deserialize(from)?;
    let text = || format!("minutes = {minutes}: expected 1 to {LONGEST}");
    let right = (1..=LONGEST).contains(&minutes).then_some(minutes);
    right.ok_or_else(|| serde::de::Error::custom(text()))
}

/// Seconds until one is open; 0: one is. `None`: there are no windows.
#[must_use]
pub fn until_open(windows: &[Window], zone: &Zone, epoch: i64) -> Option<u64> {
    let today = (epoch + zone.offset(epoch)).div_euclid(DAY);
    let mut least: Option<u64> = None;
    for window in windows {
        for day in today - 8..=today + 8 {
            let opens_then = |d: &Day| *d as i64 == weekday(day);
            if !window.days.is_empty() && !window.days.iter().any(opens_then) {
                continue;
            }
            let opens = zone.epoch(day * DAY + i64::from(window.start) * 60);
            let closes = opens + i64::from(window.minutes) * 60;
            if epoch < closes {
                let left = u64::try_from(opens - epoch).unwrap_or(0);
                least = Some(least.map_or(left, |least| least.min(left)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Deserialize)]
    struct File {
        windows: Vec<Window>,
    }

    fn windows(text: &str) -> Result<Vec<Window>, String> {
        let read: Result<File, _> = toml::from_str(text);
        read.map(|file| file.windows).map_err(|e| e.to_string())
    }

    const HOUR: i64 = 3600;
    /// Thursday 1970-01-01.
    const THURSDAY: i64 = 0;

    #[test]
    fn a_window_is_open_from_its_start_for_its_length_on_its_days() {
        let night =
            windows("[[windows]]\ndays = [\"fri\"]\nstart = \"23:30\"\nminutes = 120\n").unwrap();
        let friday = THURSDAY + DAY;
        let opens = friday + 23 * HOUR + 1800;
        for (at, left) in [
            (opens, 0),
            (opens + 7199, 0),
            (opens + 7200, 7 * DAY - 7200),
            (opens - 60, 60),
            (THURSDAY, opens),
        ] {
            assert_eq!(
                until_open(&night, &Zone::UTC, at),
                u64::try_from(left).ok(),
                "{at}"
            );
        }
        assert_eq!(until_open(&[], &Zone::UTC, 0), None);
    }

    #[test]
    fn it_opens_by_the_clock_on_the_wall() {
        let daily = windows("[[windows]]\nstart = \"02:00\"\nminutes = 60\n").unwrap();
        let berlin = Zone::try_from("CET-1CEST,M3.5.0,M10.5.0/3".to_owned()).unwrap();
        // 2026-07-01 and 2026-12-01, midnight in UTC: 02:00 and 01:00 in Berlin.
        assert_eq!(until_open(&daily, &berlin, 1_782_864_000), Some(0));
        assert_eq!(until_open(&daily, &berlin, 1_796_083_200), Some(3600));
    }

    #[test]
    fn a_mistake_is_told() {
        for (text, word) in [
            ("start = \"25:00\"\nminutes = 60", "25:00"),
            ("start = \"2:5\"\nminutes = 60", "HH:MM"),
            ("start = \"02:00\"\nminutes = 0", "minutes = 0"),
            (
                "start = \"02:00\"\nminutes = 60\ndays = [\"someday\"]",
                "someday",
            ),
            ("start = \"02:00\"\nlength = 60", "length"),
        ] {
            let error = windows(&format!("[[windows]]\n{text}\n")).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    proptest! {
        #[test]
        fn when_the_time_has_come_it_is_open(at in 0i64..4_000_000_000, start in 0u32..1440, minutes in 1u32..600) {
            let window = Window { days: vec![Day::Mon, Day::Sat], start, minutes };
            let zone = Zone::try_from("CET-1CEST,M3.5.0,M10.5.0/3".to_owned()).unwrap();
            let windows = [window];
            let left = until_open(&windows, &zone, at).unwrap();
            prop_assert!(left <= 7 * 86_400, "{left}");
            let then = at + i64::try_from(left).unwrap();
            prop_assert_eq!(until_open(&windows, &zone, then), Some(0));
        }
    }
}
