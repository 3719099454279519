//! Local time by a POSIX `TZ` text (POSIX.1-2024, section 8.3), e.g. `CET-1CEST,M3.5.0,M10.5.0/3`: the
//! host has no table of zones, and needs none.
//!
//! Rules by month, week and day only; the clock is an argument.

use serde::Deserialize;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// A zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone {
    /// Seconds east of UTC.
    standard: i64,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summer {
    offset: i64,
    begins: Rule,
    ends: Rule,
}

/// The `week`th (5: last) `day` (0: Sunday) of a month, at so many seconds of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    month: i64,
    week: i64,
    day: i64,
    time: i64,
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self {
        standard: 0,
        summer: None,
    };

    /// Seconds east of UTC at a moment, in seconds since the epoch.
    #[must_use]
    pub fn offset(&self, epoch: i64) -> i64 {
        let Some(summer) = self.summer else {
            return self.standard;
        };
        let (year, ..) = date((epoch + self.standard).div_euclid(DAY));
        let begins = summer.begins.in_year(year) - self.standard;
        let ends = summer.ends.in_year(year) - summer.offset;
        let is_summer = match begins < ends {
            true => (begins..ends).contains(&epoch),
            false => !(ends..begins).contains(&epoch),
        };
        match is_summer {
            true => summer.offset,
            false => self.standard,
        }
    }

    /// Seconds since the epoch of a local moment. One that is there twice is the first; one that is
    /// not there at all is as much later.
    #[must_use]
    pub fn epoch(&self, local: i64) -> i64 {
        let offsets = [
            self.offset(local - self.standard),
            self.summer.map_or(self.standard, |s| s.offset),
        ];
        let right = |offset: &&i64| self.offset(local - **offset) == **offset;
        let fits = offsets.iter().chain([&self.standard]).filter(right);
        fits.map(|offset| local - offset)
            .min()
            .unwrap_or(local - self.standard)
    }
}

impl Rule {
    /// Its local moment, as seconds since the epoch of a clock that knows no zone.
    fn in_year(self, year: i64) -> i64 {
        let first = days(year, self.month, 1);
        let to_day = (self.day - weekday(first)).rem_euclid(7);
        let mut at = first + to_day + (self.week - 1) * 7;
        let (next_year, next) = if self.month == 12 {
            (year + 1, 1)
        } else {
            (year, self.month + 1)
        };
        if at >= days(next_year, next, 1) {
            at -= 7;
        }
        at * DAY + self.time
    }
}

/// 0: Sunday, of a day since the epoch.
#[must_use]
pub const fn weekday(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// Days since the epoch (Hinnant's `days_from_civil`).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since the epoch (Hinnant's `civil_from_days`).
const fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let rest = day - era * 146_097;
    let year = (rest - rest / 1460 + rest / 36_524 - rest / 146_096) / 365;
    let of_year = rest - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).ok_or_else(|| {
            format!(
                "zone {text:?}: expected a POSIX TZ text, e.g. UTC0 or CET-1CEST,M3.5.0,M10.5.0/3"
            )
        })
    }
}

fn parse(text: &str) -> Option<Zone> {
    let mut fields = text.split(',');
    let (standard, rest) = offset(name(fields.next()?)?)?;
    let standard = -standard?;
    let summer = match rest {
        "" => None,
        rest => {
            let (offset, end) = offset(name(rest)?)?;
            end.is_empty().then_some(())?;
            Some(Summer {
                offset: offset.map_or(standard + HOUR, |seconds| -seconds),
                begins: rule(fields.next()?)?,
                ends: rule(fields.next()?)?,
            })
        }
    };
    fields.next().is_none().then_some(Zone { standard, summer })
}

/// What is behind a name: three letters or more, or anything in `<>`.
fn name(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').map(|(_, rest)| rest);
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    (end >= 3).then(|| &text[end..])
}

/// Seconds, if any are there, and what is behind them: `[+-]hh[:mm[:ss]]`.
fn offset(text: &str) -> Option<(Option<i64>, &str)> {
    let own = |c: char| c.is_ascii_digit() || "+-:".contains(c);
    let end = text.find(|c: char| !own(c)).unwrap_or(text.len());
    let (own, rest) = text.split_at(end);
    match own {
        "" => Some((None, rest)),
        own => Some((Some(time(own)?), rest)),
    }
}

fn time(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    for (part, unit) in digits.splitn(3, ':').zip([HOUR, MINUTE, 1]) {
        let plain = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        seconds += plain.then(|| part.parse::<i64>().ok()).flatten()? * unit;
    }
    (seconds <= 167 * HOUR).then_some(sign * seconds)
}

fn rule(text: &str) -> Option<Rule> {
    let (date, at) = text.split_once('/').unwrap_or((text, "2"));
    let mut numbers = date
        .strip_prefix('M')?
        .split('.')
        .map(|n| n.parse::<i64>().ok());
    let mut next = |from, to| numbers.next()?.filter(|n| (from..=to).contains(n));
    let rule = Rule {
        month: next(1, 12)?,
        week: next(1, 5)?,
        day: next(0, 6)?,
        time: time(at)?,
    };
    numbers.next().is_none().then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(text: &str) -> Zone {
        Zone::try_from(text.to_owned()).unwrap()
    }

    /// Seconds since the epoch of a moment in UTC.
    fn at(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        days(year, month, day) * DAY + hour * HOUR + minute * MINUTE
    }

    #[test]
    fn summer_begins_and_ends_when_the_zone_says() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        for (moment, hours) in [
            (at(2026, 3, 29, 0, 59), 1),
            (at(2026, 3, 29, 1, 0), 2),
            (at(2026, 10, 25, 0, 59), 2),
            (at(2026, 10, 25, 1, 0), 1),
            (at(2026, 12, 31, 23, 30), 1),
        ] {
            assert_eq!(berlin.offset(moment), hours * HOUR, "{moment}");
        }
        // Where summer is around the new year.
        let sydney = zone("AEST-10AEDT,M10.1.0,M4.1.0/3");
        assert_eq!(sydney.offset(at(2026, 1, 15, 0, 0)), 11 * HOUR);
        assert_eq!(sydney.offset(at(2026, 7, 15, 0, 0)), 10 * HOUR);
        let york = zone("EST5EDT,M3.2.0,M11.1.0");
        assert_eq!(york.offset(at(2026, 3, 8, 6, 59)), -5 * HOUR);
        assert_eq!(york.offset(at(2026, 3, 8, 7, 0)), -4 * HOUR);
        assert_eq!(zone("<+0545>-5:45").offset(0), 5 * HOUR + 45 * MINUTE);
        assert_eq!(zone("UTC0"), Zone::UTC);
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in [
            "",
            "CET",
            "Europe/Berlin",
            "CET-1CEST",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,J60,J300",
            "CET-1CEST,M13.5.0,M10.5.0",
            "X1",
            "CET-1CEST,M3.5.0,M10.5.0,M1.1.1",
            "CET-999",
            "CET-:",
        ] {
            let refused = Zone::try_from(text.to_owned()).unwrap_err();
            assert!(refused.contains("POSIX TZ"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_local_moment_is_itself_again(moment in 0i64..4_000_000_000) {
            let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
            let local = moment + berlin.offset(moment);
            let back = berlin.epoch(local);
            // In the hour that is there twice it is the first of both.
            prop_assert!(back == moment || back + HOUR == moment, "{back} {moment}");
        }

        #[test]
        fn no_text_makes_it_fail(text in "[A-Za-z<>+,./:0-9-]{0,30}", moment in any::<i32>()) {
            if let Ok(zone) = Zone::try_from(text) {
                let _ = zone.epoch(zone.offset(moment.into()));
            }
        }
    }
}
