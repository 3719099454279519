//! What a container's machine goes by: its policy, its times, its check.
//!
//! Values only, made from its options and its image.

use std::time::Duration;

use crate::engine::backoff;
use crate::engine::options::{ContainerOptions, HealthCheck, OnFailure, ReadyBy, RestartPolicy};

/// What of a container's description matters here.
#[derive(Debug, Clone)]
pub struct Rules {
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Least pause before that.
    pub pause: Duration,
    /// It goes when it has ended.
    pub auto_remove: bool,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// From that signal to the kill.
    pub stop_timeout: Duration,
    /// Makes jitter differ between containers.
    pub seed: u64,
    /// It has a health check.
    pub checked: bool,
    /// What becomes of it when it is unhealthy.
    pub on_failure: OnFailure,
    /// What tells that it is ready, if it is not so with its start.
    pub ready_by: Option<ReadyBy>,
    /// How long that may take.
    pub ready_within: Option<Duration>,
}

impl Rules {
    /// From a container's options; `image_signal` is the image's `StopSignal`.
    pub fn new(options: &ContainerOptions, image_signal: Option<i32>, id: &str) -> Self {
        let within = options.ready.and_then(|ready| ready.timeout_ms);
        Self {
            restart: options.restart,
            pause: Duration::from_millis(options.restart_delay_ms.unwrap_or(100)),
            auto_remove: options.auto_remove,
            stop_signal: options.stop_signal.or(image_signal).unwrap_or(15),
            stop_timeout: Duration::from_secs(options.stop_timeout.unwrap_or(10)),
            seed: backoff::seed(id),
            checked: false,
            on_failure: OnFailure::None,
            ready_by: options.ready.map(|ready| ready.by),
            ready_within: within.map(Duration::from_millis),
        }
    }

    /// With the container's health check.
    pub fn checked_by(mut self, check: Option<&HealthCheck>) -> Self {
        self.checked = check.is_some();
        self.on_failure = check.map_or(OnFailure::None, |check| check.on_failure);
        self
    }
}
