//! Times as Docker's API writes and reads them.
//!
//! UTC only; a clock is never looked at here.

/// What stands for a time that has not come.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// A time in UTC to the nanosecond, without zeros at its end; 0 is [`NEVER`].
pub fn rfc3339(ns: u64) -> String {
    if ns == 0 {
        return NEVER.into();
    }
    let whole = padded(ns);
    let text = whole.trim_end_matches('Z').trim_end_matches('0');
    format!("{}Z", text.trim_end_matches('.'))
}

/// The same with all nine digits, as in logs.
pub fn padded(ns: u64) -> String {
    let micros = crate::cli::rfc3339(ns);
    format!("{}{:03}Z", micros.trim_end_matches('Z'), ns % 1000)
}

/// A moment as clients send it: seconds since the epoch, with up to nine digits behind a dot.
///
/// # Errors
/// What is wrong with it.
pub fn moment(text: &str) -> Result<u64, String> {
    let refused = || format!("expected seconds since the epoch, found '{text}'");
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 9 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    let seconds: u64 = seconds.parse().map_err(|_| refused())?;
    let nanos: u64 = format!("{rest:0<9}").parse().map_err(|_| refused())?;
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_out_and_come_in() {
        assert_eq!(rfc3339(0), NEVER);
        assert_eq!(
            rfc3339(951_827_696_123_456_000),
            "2000-02-29T12:34:56.123456Z"
        );
        assert_eq!(rfc3339(951_827_696_000_000_000), "2000-02-29T12:34:56Z");
        assert_eq!(
            padded(951_827_696_123_456_789),
            "2000-02-29T12:34:56.123456789Z"
        );
        assert_eq!(
            padded(951_827_696_000_000_000),
            "2000-02-29T12:34:56.000000000Z"
        );
        assert_eq!(moment("5").unwrap(), 5_000_000_000);
        assert_eq!(moment("5.000000007").unwrap(), 5_000_000_007);
        assert_eq!(moment("5.5").unwrap(), 5_500_000_000);
        for bad in ["", "x", "-1", "1.x", "1.0000000001"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
