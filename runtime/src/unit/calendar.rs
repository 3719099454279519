//! `OnCalendar=`: times as systemd.time(7) writes them, and when the next one is.
//!
//! Pure, in UTC, which is the time of every host here. Seconds are whole.

mod read;

use std::collections::BTreeSet;

/// No search goes beyond this year: a 30 February never comes.
const LAST_YEAR: i64 = 2199;

/// When something is due, by the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Days of the week, Monday is 0; empty for all.
    weekdays: BTreeSet<u8>,
    years: Field,
    months: Field,
    days: Field,
    hours: Field,
    minutes: Field,
    seconds: Field,
}

/// One part: any value, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Any,
    Some(Vec<Item>),
}

/// `from..to/step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    from: i64,
    /// The same as `from` for a single value; `i64::MAX` when it repeats without an end.
    to: i64,
    step: i64,
}

impl Field {
    fn only(value: i64) -> Self {
        Self::Some(vec![Item {
            from: value,
            to: value,
            step: 1,
        }])
    }

    fn has(&self, value: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Some(items) => items
                .iter()
                .any(|i| value >= i.from && value <= i.to && (value - i.from) % i.step == 0),
        }
    }

    /// The first value from `least` to `most`.
    fn first(&self, least: i64, most: i64) -> Option<i64> {
        (least..=most).find(|value| self.has(*value))
    }
}

impl Calendar {
    /// Reads one value.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn parse(text: &str) -> Result<Self, String> {
        read::calendar(text)
    }

    /// The first moment after `after`, both in seconds since the epoch; `None` if there is none.
    pub fn next(&self, after: i64) -> Option<i64> {
        let start = after.checked_add(1)?;
        let (mut day, second) = (start.div_euclid(86_400), start.rem_euclid(86_400));
        if let Some(at) = self.in_day(day, second) {
            return Some(at);
        }
        loop {
            day = self.next_day(day + 1)?;
            if let Some(at) = self.in_day(day, 0) {
                return Some(at);
            }
        }
    }

    fn in_day(&self, day: i64, from: i64) -> Option<i64> {
        if !self.has_day(day) {
            return None;
        }
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let mut at = self.hours.first(hour, 23)?;
        loop {
            let same_hour = at == hour;
            let mut m = self.minutes.first(if same_hour { minute } else { 0 }, 59);
            while let Some(found) = m {
                let least = if same_hour && found == minute {
                    second
                } else {
                    0
                };
                if let Some(s) = self.seconds.first(least, 59) {
                    return Some(day * 86_400 + at * 3600 + found * 60 + s);
                }
                m = self.minutes.first(found + 1, 59);
            }
            at = self.hours.first(at + 1, 23)?;
        }
    }

    fn has_day(&self, day: i64) -> bool {
        let (year, month, date) = civil(day);
        let weekday = u8::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
        let in_week = self.weekdays.is_empty() || self.weekdays.contains(&weekday);
        in_week && self.years.has(year) && self.months.has(month) && self.days.has(date)
    }

    /// The first day from `day` on that fits; years and months that do not are passed over whole.
    fn next_day(&self, mut day: i64) -> Option<i64> {
        loop {
            let (year, month, _) = civil(day);
            if year > LAST_YEAR {
                return None;
            }
            if !self.years.has(year) {
                let next = self.years.first(year + 1, LAST_YEAR)?;
                day = days(next, 1, 1);
            } else if !self.months.has(month) {
                day = match month {
                    12 => days(year + 1, 1, 1),
                    month => days(year, month + 1, 1),
                };
            } else if self.has_day(day) {
                return Some(day);
            } else {
                day += 1;
            }
        }
    }
}

/// Year, month and day of a day since the epoch (the proleptic Gregorian calendar).
fn civil(day: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last one.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

/// Days since the epoch.
fn days(year: i64, month: i64, date: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + date - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests;
