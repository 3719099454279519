//! Reads a calendar value.
//!
//! Time zones other than UTC and the last days of a month (`~`) are refused by name.

use std::collections::BTreeSet;

use super::{Calendar, Field, Item};

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// `[WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]] [UTC]`, or one of the short words.
pub fn calendar(text: &str) -> Result<Calendar, String> {
    let refusal = || {
        format!("expected a time such as daily, 03:30 or Mon..Fri *-*-* 08:00:00, found '{text}'")
    };
    if let Some(long) = short(&text.to_ascii_lowercase()) {
        return calendar(long);
    }
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if words.last() == Some(&"UTC") {
        words.pop();
    }
    if words.is_empty() {
        return Err(refusal());
    }
    let mut all = Calendar {
        weekdays: BTreeSet::new(),
        years: Field::Any,
        months: Field::Any,
        days: Field::Any,
        hours: Field::only(0),
        minutes: Field::only(0),
        seconds: Field::only(0),
    };
    let mut words = words.into_iter().peekable();
    if let Some(word) = words.next_if(|w| w.starts_with(|c: char| c.is_ascii_alphabetic())) {
        all.weekdays = weekdays(word).ok_or_else(|| zone_or(word, refusal()))?;
    }
    if let Some(word) = words.next_if(|w| w.contains(['-', '~'])) {
        date(&mut all, word)?.ok_or_else(refusal)?;
    }
    if let Some(word) = words.next_if(|w| w.contains(':')) {
        clock(&mut all, word).ok_or_else(refusal)?;
    }
    match words.next() {
        None => Ok(all),
        Some(word) => Err(zone_or(word, refusal())),
    }
}

fn zone_or(word: &str, refusal: String) -> String {
    if word.contains('/') && word.starts_with(|c: char| c.is_ascii_uppercase()) {
        return format!("time zone '{word}' is not supported: the host's time is UTC");
    }
    refusal
}

fn short(word: &str) -> Option<&'static str> {
    Some(match word {
        "minutely" => "*-*-* *:*:00",
        "hourly" => "*-*-* *:00:00",
        "daily" => "*-*-* 00:00:00",
        "weekly" => "Mon *-*-* 00:00:00",
        "monthly" => "*-*-01 00:00:00",
        "quarterly" => "*-01,04,07,10-01 00:00:00",
        "semiannually" => "*-01,07-01 00:00:00",
        "yearly" | "annually" => "*-01-01 00:00:00",
        _ => return None,
    })
}

fn weekdays(word: &str) -> Option<BTreeSet<u8>> {
    let mut found = BTreeSet::new();
    for part in word.trim_end_matches(',').split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = (weekday(first)?, weekday(last)?);
        if first > last {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

fn weekday(word: &str) -> Option<u8> {
    let word = word.to_ascii_lowercase();
    let at = DAYS.iter().position(|d| *d == word || d[..3] == word)?;
    u8::try_from(at).ok()
}

fn date(all: &mut Calendar, word: &str) -> Result<Option<()>, String> {
    if word.contains('~') {
        return Err("the last days of a month ('~') are not supported".into());
    }
    let parts: Vec<&str> = word.split('-').collect();
    let (year, month, day) = match parts[..] {
        [year, month, day] => (year, month, day),
        [month, day] => ("*", month, day),
        _ => return Ok(None),
    };
    let mut read = || {
        all.years = field(year, 1970, 2199)?;
        all.months = field(month, 1, 12)?;
        all.days = field(day, 1, 31)?;
        Some(())
    };
    Ok(read())
}

fn clock(all: &mut Calendar, word: &str) -> Option<()> {
    let parts: Vec<&str> = word.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    all.hours = field(hour, 0, 23)?;
    all.minutes = field(minute, 0, 59)?;
    all.seconds = field(second, 0, 59)?;
    Some(())
}

/// `*`, `N`, `N..M`, each with `/STEP`, and lists of them.
fn field(text: &str, least: i64, most: i64) -> Option<Field> {
    if text == "*" {
        return Some(Field::Any);
    }
    let item = |part: &str| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once("..") {
            Some((from, to)) => (number(from)?, number(to)?),
            None if range == "*" => (least, most),
            None => {
                let value = number(range)?;
                // A start with a step goes on to the end.
                (value, if step.is_some() { most } else { value })
            }
        };
        let fits = least <= from && from <= to && to <= most && step.is_none_or(|s| s > 0);
        fits.then_some(Item {
            from,
            to,
            step: step.unwrap_or(1),
        })
    };
    let items: Option<Vec<Item>> = text.split(',').map(item).collect();
    items.map(Field::Some)
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
