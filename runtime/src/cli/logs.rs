//! `skeg logs`.
//!
//! Lines come as frames; their time is shown when asked for. What is no container may be a service
//! of the host, whose log PID 1 keeps in a file.

use http_body_util::BodyExt;
use hyper::Method;

use super::args::Logs;
use super::client::{self, escape};
use super::containers::now;
use super::error::CliError;
use super::journal;
use super::session::print;
use crate::engine::api::{FRAME_HEAD, FrameHead, FrameKind};

pub async fn show(options: &Logs) -> Result<u8, CliError> {
    if options.of_host() {
        return journal::show(options);
    }
    let container = options.container.as_deref().unwrap_or_default();
    let mut path = format!(
        "/v1/containers/{}/logs?follow={}",
        escape(container),
        options.follow
    );
    if let Some(tail) = options.tail.filter(|t| *t != u64::MAX) {
        path.push_str(&format!("&tail={tail}"));
    }
    if let Some(since) = &options.since {
        path.push_str(&format!("&since={}", moment(since, now())?));
    }
    let response = match client::send(Method::GET, &path, None::<&()>, false).await {
        Ok(response) => response,
        Err(e) => return service(container, options.tail).ok_or(e),
    };
    let mut body = response.into_body();
    let mut pending = Vec::new();
    while let Some(chunk) = body.frame().await {
        let chunk = chunk.map_err(|e| CliError::engine(format!("the log broke off: {e}")))?;
        pending.extend_from_slice(chunk.data_ref().map_or(&[][..], |data| data));
        while let Some(length) = one(&pending, options.timestamps)? {
            pending.drain(..length);
        }
    }
    Ok(0)
}

/// A service of the host, when no container has that name: also while the engine is down.
fn service(name: &str, tail: Option<u64>) -> Option<u8> {
    crate::engine::values::volume_name(name).ok()?;
    let path = format!("{}/{name}.log", formats::paths::SERVICE_LOGS);
    let text = std::fs::read(path).ok()?;
    let lines = text.split_inclusive(|b| *b == b'\n');
    let lines: Vec<&[u8]> = lines.map(crate::daemon_log::without_priority).collect();
    let shown = tail.map_or(lines.len(), |t| usize::try_from(t).unwrap_or(usize::MAX));
    let last = &lines[lines.len().saturating_sub(shown)..];
    print(&mut std::io::stdout().lock(), &last.concat()).ok()?;
    Some(0)
}

/// Prints the first frame if it is whole, and tells its length.
fn one(pending: &[u8], timestamps: bool) -> Result<Option<usize>, CliError> {
    let Some((head, rest)) = pending.split_first_chunk::<FRAME_HEAD>() else {
        return Ok(None);
    };
    let head = FrameHead::decode(head).map_err(CliError::engine)?;
    let Some(body) = rest.get(..head.length as usize) else {
        return Ok(None);
    };
    let mut line = Vec::new();
    if timestamps {
        line.extend(rfc3339(head.time_ns).bytes());
        line.push(b' ');
    }
    line.extend_from_slice(body);
    match head.kind {
        FrameKind::Stderr => print(&mut std::io::stderr().lock(), &line)?,
        _ => print(&mut std::io::stdout().lock(), &line)?,
    }
    Ok(Some(FRAME_HEAD + body.len()))
}

/// `10m` ago, or seconds since the epoch.
pub fn moment(text: &str, now: u64) -> Result<u64, CliError> {
    let refusal = || {
        CliError::usage(format!(
            "--since: expected a time such as 10m, 2h or seconds since the epoch, found '{text}'"
        ))
    };
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number.parse().map_err(|_| refusal())?;
    let seconds = match unit {
        "" => return Ok(number),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(refusal()),
    };
    Ok(now.saturating_sub(number.saturating_mul(seconds)))
}

/// A time in UTC, to the microsecond.
pub fn rfc3339(ns: u64) -> String {
    let (seconds, micros) = (ns / 1_000_000_000, ns % 1_000_000_000 / 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date: the civil-from-days algorithm, in years that begin in March.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            rfc3339(951_827_696_123_456_789),
            "2000-02-29T12:34:56.123456Z"
        );
        assert_eq!(
            rfc3339(1_796_083_199_000_000_000),
            "2026-11-30T23:59:59.000000Z"
        );
    }

    #[test]
    fn since_takes_ages_and_moments() {
        assert_eq!(moment("10m", 1000).unwrap(), 400);
        assert_eq!(moment("1700000000", 1).unwrap(), 1_700_000_000);
        assert!(moment("soon", 1).is_err());
        assert!(moment("5y", 1).is_err());
    }
}
