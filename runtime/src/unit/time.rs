//! Time spans as systemd writes them: `90`, `1min 30s`, `500ms`, `infinity`.
//!
//! Pure; the unit of a bare number is the second.

use std::time::Duration;

/// `None` stands for `infinity`.
///
/// # Errors
/// What was expected and found.
pub fn span(text: &str) -> Result<Option<Duration>, String> {
    let refusal = || format!("expected a time such as 90, 1min 30s or infinity, found '{text}'");
    if text.trim() == "infinity" {
        return Ok(None);
    }
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(refusal());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: f64 = number.parse().map_err(|_| refusal())?;
        let seconds = number * seconds_of(unit).ok_or_else(refusal)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| refusal())?;
        total = total.checked_add(part).ok_or_else(refusal)?;
        rest = tail.trim_start();
    }
    Ok(Some(total))
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "us" | "usec" | "µs" => 1e-6,
        "ms" | "msec" => 1e-3,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_as_systemd_reads_them() {
        let ms = |text| span(text).unwrap().map(|d| d.as_millis());
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("1min 30s"), Some(90_000));
        assert_eq!(ms("1min30"), Some(90_000));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1.5h"), Some(5_400_000));
        assert_eq!(ms("infinity"), None);
        for bad in [
            "",
            "s",
            "1 parsec",
            "-1",
            "1e99h",
            "99999999999999999999999w",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = span(&text);
        }
    }
}
