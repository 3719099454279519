//! The values of service files: durations, sizes, booleans, command lines, capability names.
//!
//! Each function takes the text right of `=` and says in its error what was expected and found.

use std::time::Duration;

/// The longest duration that a file may name; more is a typing error.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// `yes`, `true`, `on`, `1` and their opposites.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(format!("expected yes or no, found \"{text}\"")),
    }
}

/// A whole number within the range.
pub fn number(text: &str, low: i64, high: i64) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!(
            "expected a number from {low} to {high}, found \"{text}\""
        )),
    }
}

/// Bytes with an optional suffix K, M, G or T (powers of 1024), or `infinity`.
pub fn bytes(text: &str) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let split = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &text[split.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(size_expected(text)),
    };
    let value: u64 = split.parse().map_err(|_| size_expected(text))?;
    value
        .checked_mul(1 << shift)
        .map(Some)
        .ok_or_else(|| size_expected(text))
}

fn size_expected(text: &str) -> String {
    format!("expected a size such as 64M, or infinity, found \"{text}\"")
}

/// A count of tasks, or `infinity`.
pub fn count(text: &str) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let value = number(text, 1, i64::from(i32::MAX))?;
    Ok(u64::try_from(value).ok())
}

/// A duration as systemd.time(7) writes it: seconds when bare, else `us ms s sec min m h d`
/// with whole numbers, summed up; `None` for `infinity`.
pub fn duration(text: &str) -> Result<Option<Duration>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let wrong = || format!("expected a time such as 10s, 1min 30s or 500ms, found \"{text}\"");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut micros: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = unit_micros(&rest[..letters]).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start();
        micros = amount
            .checked_mul(unit)
            .and_then(|part| micros.checked_add(part))
            .ok_or_else(wrong)?;
    }
    let value = Duration::from_micros(micros);
    if value > LONGEST {
        return Err(format!("expected at most a year, found \"{text}\""));
    }
    Ok(Some(value))
}

fn unit_micros(name: &str) -> Option<u64> {
    Some(match name {
        "us" => 1,
        "ms" => 1_000,
        "" | "s" | "sec" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" | "hr" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    })
}

/// Words split at blanks; `"…"` and `'…'` keep blanks together. No escapes, no specifiers.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!(
            "expected a closing {open} before the end of the line"
        ));
    }
    words.extend(word);
    Ok(words)
}

/// Names of capabilities, separated by blanks, as a bit mask.
pub fn capabilities(text: &str) -> Result<u64, String> {
    let mut mask = 0;
    for name in text.split_whitespace() {
        let number = CAPABILITIES
            .iter()
            .position(|known| *known == name)
            .ok_or_else(|| format!("expected names such as CAP_NET_ADMIN, found \"{name}\""))?;
        mask |= 1 << number;
    }
    Ok(mask)
}

/// capabilities(7), in the order of their numbers.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_and_bare_numbers_are_seconds() {
        let seconds = |s| Ok(Some(Duration::from_secs(s)));
        assert_eq!(duration("90"), seconds(90));
        assert_eq!(duration("1min 30s"), seconds(90));
        assert_eq!(duration("2h"), seconds(7200));
        assert_eq!(duration("250ms"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(duration("infinity"), Ok(None));
        for bad in ["", "s", "1.5s", "-1", "10 parsecs", "99999999999999999999"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_use_powers_of_1024_and_do_not_overflow() {
        assert_eq!(bytes("64M"), Ok(Some(64 << 20)));
        assert_eq!(bytes("512"), Ok(Some(512)));
        for bad in ["", "M", "64MM", "64m", "99999999999T", "-1"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quotes_keep_blanks_together() {
        let found = words(r#"/bin/x  --a="b c" 'd e' """#).unwrap();
        assert_eq!(found, ["/bin/x", "--a=b c", "d e", ""]);
        assert!(words("'open").is_err());
    }

    #[test]
    fn capability_numbers_are_those_of_the_kernel() {
        assert_eq!(capabilities("CAP_CHOWN CAP_NET_ADMIN"), Ok(1 | 1 << 12));
        assert_eq!(capabilities("CAP_SYS_ADMIN"), Ok(1 << 21));
        assert_eq!(capabilities("CAP_BPF"), Ok(1 << 39));
        assert!(capabilities("net_admin").is_err());
    }
}
