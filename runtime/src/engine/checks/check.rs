//! A health check as a value: the container's own over the image's, and the defaults.
//!
//! Pure. Times are docker's defaults.

use std::time::Duration;

use serde_json::Value;

use crate::engine::options::{HealthCheck, NEVER};

const INTERVAL_MS: u64 = 30_000;
const TIMEOUT_MS: u64 = 30_000;
const START_INTERVAL_MS: u64 = 5_000;
const RETRIES: u32 = 3;
/// Results that are kept of a container.
const LOG_COUNT: u32 = 5;
/// Bytes of output that are kept of a check.
const LOG_SIZE: u32 = 4096;

/// What is run, and within which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A check that takes longer has failed.
    pub timeout: Duration,
}

/// A container's own check, what it leaves open taken from the image's `Healthcheck`; nothing when there is
/// none or it is switched off.
pub fn merge(own: Option<&HealthCheck>, image: &Value) -> Option<HealthCheck> {
    let of_image = from_docker(image).unwrap_or_default();
    let mut check = own.cloned().unwrap_or_default();
    if check.test.is_none() {
        check.test = of_image.test;
        check.shell = of_image.shell;
    }
    check.interval_ms = check.interval_ms.or(of_image.interval_ms);
    check.timeout_ms = check.timeout_ms.or(of_image.timeout_ms);
    check.start_period_ms = check.start_period_ms.or(of_image.start_period_ms);
    check.start_interval_ms = check.start_interval_ms.or(of_image.start_interval_ms);
    check.retries = check.retries.or(of_image.retries);
    let is_on = check.test.as_ref().is_some_and(|test| !test.is_empty());
    is_on.then_some(check)
}

/// Docker's form; times are in nanoseconds, 0 is not said.
pub fn from_docker(value: &Value) -> Option<HealthCheck> {
    let object = value.as_object()?;
    let words = object.get("Test").and_then(Value::as_array);
    let words: Vec<String> = words
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    let (test, shell) = match words.split_first() {
        None => (None, false),
        Some((kind, _)) if kind == "NONE" => (Some(Vec::new()), false),
        Some((kind, rest)) if kind == "CMD-SHELL" => (Some(rest.to_vec()), true),
        Some((kind, rest)) if kind == "CMD" => (Some(rest.to_vec()), false),
        Some(_) => return None,
    };
    let millis = |key: &str| {
        let ns = object.get(key).and_then(Value::as_u64);
        ns.filter(|ns| *ns > 0).map(|ns| (ns / 1_000_000).max(1))
    };
    let retries = object.get("Retries").and_then(Value::as_u64);
    Some(HealthCheck {
        test,
        shell,
        interval_ms: millis("Interval"),
        timeout_ms: millis("Timeout"),
        start_period_ms: millis("StartPeriod"),
        start_interval_ms: millis("StartInterval"),
        retries: retries
            .filter(|n| *n > 0)
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        ..HealthCheck::default()
    })
}

/// The same, to be shown; what was not said is left out.
pub fn to_docker(check: &HealthCheck) -> Value {
    let mut told = serde_json::Map::new();
    if let Some(test) = &check.test {
        let kind = match (test.is_empty(), check.shell) {
            (true, _) => "NONE",
            (false, true) => "CMD-SHELL",
            (false, false) => "CMD",
        };
        let words = [kind.to_owned()].into_iter().chain(test.iter().cloned());
        told.insert("Test".into(), words.collect());
    }
    for (key, ms) in [
        ("Interval", check.interval_ms),
        ("Timeout", check.timeout_ms),
        ("StartPeriod", check.start_period_ms),
        ("StartInterval", check.start_interval_ms),
    ] {
        if let Some(ms) = ms {
            told.insert(key.into(), ms.saturating_mul(1_000_000).into());
        }
    }
    if let Some(retries) = check.retries {
        told.insert("Retries".into(), retries.into());
    }
    Value::Object(told)
}

impl HealthCheck {
    /// The check itself.
    pub fn run(&self) -> Run {
        Run {
            command: command(self.test.as_deref().unwrap_or_default(), self.shell),
            timeout: Duration::from_millis(self.timeout_ms.unwrap_or(TIMEOUT_MS)),
        }
    }

    /// The check before it, if there is one.
    pub fn startup_run(&self) -> Option<Run> {
        let startup = self.startup.as_ref()?;
        Some(Run {
            command: command(&startup.test, startup.shell),
            timeout: Duration::from_millis(startup.timeout_ms.unwrap_or(TIMEOUT_MS)),
        })
    }

    /// From the end of one check to the next; never when absent.
    pub fn interval(&self) -> Option<Duration> {
        pause(self.interval_ms.unwrap_or(INTERVAL_MS))
    }

    /// The same before the check itself begins.
    pub fn startup_interval(&self) -> Option<Duration> {
        let own = self.startup.as_ref().and_then(|s| s.interval_ms);
        pause(own.unwrap_or(INTERVAL_MS))
    }

    /// The same within the start period.
    pub fn start_interval(&self) -> Duration {
        Duration::from_millis(self.start_interval_ms.unwrap_or(START_INTERVAL_MS))
    }

    /// While failures do not count.
    pub fn start_period(&self) -> Duration {
        Duration::from_millis(self.start_period_ms.unwrap_or(0))
    }

    /// Failures in a row that make it unhealthy.
    pub fn most_failures(&self) -> u32 {
        self.retries.unwrap_or(RETRIES).max(1)
    }

    /// Results that are kept.
    pub fn kept(&self) -> usize {
        match self.log_count.unwrap_or(LOG_COUNT) {
            // Without a limit, as podman has it, would be one of memory.
            0 => 100,
            n => n.min(100) as usize,
        }
    }

    /// Bytes of output that are kept of each.
    pub fn kept_bytes(&self) -> usize {
        match self.log_size.unwrap_or(LOG_SIZE) {
            0 => 65_536,
            n => n.min(65_536) as usize,
        }
    }
}

fn pause(ms: u64) -> Option<Duration> {
    (ms != NEVER).then(|| Duration::from_millis(ms))
}

fn command(test: &[String], shell: bool) -> Vec<String> {
    if shell {
        let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
        shell.into_iter().chain(test.iter().cloned()).collect()
    } else {
        test.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_changes_its_image_s_check_or_switches_it_off() {
        let image =
            json!({"Test": ["CMD-SHELL", "true"], "Interval": 2_000_000_000_u64, "Retries": 7});
        let own = HealthCheck {
            interval_ms: Some(500),
            ..HealthCheck::default()
        };
        let both = merge(Some(&own), &image).unwrap();
        assert_eq!(both.run().command, ["/bin/sh", "-c", "true"]);
        assert_eq!((both.interval_ms, both.retries), (Some(500), Some(7)));
        assert_eq!(merge(None, &image).unwrap().interval_ms, Some(2000));
        let off = HealthCheck {
            test: Some(Vec::new()),
            ..HealthCheck::default()
        };
        assert_eq!(merge(Some(&off), &image), None);
        assert_eq!(merge(None, &Value::Null), None);
        assert_eq!(merge(None, &json!({"Test": ["NONE"]})), None);
    }

    #[test]
    fn docker_s_form_is_read_and_shown_alike() {
        let text = json!({"Test": ["CMD", "a", "b"], "Timeout": 1_000_000_000_u64, "Retries": 1});
        assert_eq!(to_docker(&from_docker(&text).unwrap()), text);
    }
}
