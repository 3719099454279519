//! PID 1's view of the host, `/run/skeg/status.json`: services, degraded states, power.
//!
//! PID 1 is the only writer and uses [`write_json`], which needs no serializer; readers use serde.

use crate::boot::write_json_string;
use std::fmt::{self, Write};

/// Version of the format. Readers refuse others.
pub const FORMAT: u32 = 1;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// [`FORMAT`].
    pub format: u32,
    /// Whether the host runs or is on its way down.
    pub power: PowerState,
    /// Every service of the image, by name.
    pub services: Vec<ServiceStatus>,
    /// What is missing or broken right now; empty on a healthy host.
    pub degraded: Vec<Degraded>,
    /// Containers in PID 1's slots, running or waiting for the engine to take their exit.
    pub containers: u32,
}

/// Whether the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PowerState {
    /// Services are being started for the first time.
    Starting,
    /// Every service has come to its first state.
    Running,
    /// An orderly shutdown that ends in power-off.
    PoweringOff,
    /// An orderly shutdown that ends in a reboot.
    Rebooting,
}

impl PowerState {
    /// The text in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::PoweringOff => "powering_off",
            Self::Rebooting => "rebooting",
        }
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceStatus {
    /// Its name, e.g. `engine`.
    pub name: String,
    /// Where it stands.
    pub state: ServiceState,
    /// Process id of its main process, when it has one.
    pub pid: Option<u32>,
    /// How often it was started again since the boot.
    pub restarts: u32,
    /// How its main process ended last, if it ever did.
    pub last_exit: Option<LastExit>,
    /// The last `STATUS=` that it sent; empty if none.
    pub text: String,
    /// Descriptors that PID 1 holds for it.
    pub stored_fds: u32,
}

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ServiceState {
    /// Waits for the services that it comes after.
    Waiting,
    /// Runs, not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Was told to stop.
    Stopping,
    /// Ended, and is started again after a pause.
    Restarting,
    /// Has done what it is for (`Type=oneshot`), or was stopped.
    Done,
    /// Ended and is not started again.
    Failed,
}

impl ServiceState {
    /// The text in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// How a service's main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LastExit {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
}

/// Something that is missing or broken while the host goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Degraded {
    /// A stable name, e.g. `state-missing`, `watchdog-missing`, `service-failing:engine`.
    pub name: String,
    /// What it means and what to do, for people.
    pub text: String,
}

/// Writes the status as JSON, byte for byte as serde would.
///
/// # Errors
/// Only what the writer itself returns.
pub fn write_json(out: &mut impl Write, status: &Status) -> fmt::Result {
    write!(
        out,
        "{{\"format\":{},\"power\":\"{}\",\"services\":[",
        status.format,
        status.power.as_str()
    )?;
    for (i, service) in status.services.iter().enumerate() {
        out.write_str(if i == 0 { "" } else { "," })?;
        write_service(out, service)?;
    }
    out.write_str("],\"degraded\":[")?;
    for (i, degraded) in status.degraded.iter().enumerate() {
        out.write_str(if i == 0 { "{\"name\":" } else { ",{\"name\":" })?;
        write_json_string(out, &degraded.name)?;
        out.write_str(",\"text\":")?;
        write_json_string(out, &degraded.text)?;
        out.write_str("}")?;
    }
    write!(out, "],\"containers\":{}}}", status.containers)
}

fn write_service(out: &mut impl Write, service: &ServiceStatus) -> fmt::Result {
    out.write_str("{\"name\":")?;
    write_json_string(out, &service.name)?;
    write!(out, ",\"state\":\"{}\",\"pid\":", service.state.as_str())?;
    match service.pid {
        Some(pid) => write!(out, "{pid}")?,
        None => out.write_str("null")?,
    }
    write!(out, ",\"restarts\":{},\"last_exit\":", service.restarts)?;
    match service.last_exit {
        Some(LastExit::Exited(code)) => write!(out, "{{\"exited\":{code}}}")?,
        Some(LastExit::Signaled(signal)) => write!(out, "{{\"signaled\":{signal}}}")?,
        None => out.write_str("null")?,
    }
    out.write_str(",\"text\":")?;
    write_json_string(out, &service.text)?;
    write!(out, ",\"stored_fds\":{}}}", service.stored_fds)
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(text: &str, state: ServiceState, last_exit: Option<LastExit>) -> Status {
        let engine = ServiceStatus {
            name: "engine".into(),
            state,
            pid: last_exit.is_none().then_some(42),
            restarts: 1,
            last_exit,
            text: text.into(),
            stored_fds: 2,
        };
        Status {
            format: FORMAT,
            power: PowerState::Running,
            services: vec![engine.clone(), engine],
            degraded: vec![Degraded {
                name: "state-missing".into(),
                text: text.into(),
            }],
            containers: 3,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut status = sample("ok", ServiceState::Running, Some(LastExit::Signaled(9)));
        status.services.truncate(1);
        let mut out = String::new();
        write_json(&mut out, &status).unwrap();
        assert_eq!(
            out,
            r#"{"format":1,"power":"running","services":[{"name":"engine","state":"running","pid":null,"restarts":1,"last_exit":{"signaled":9},"text":"ok","stored_fds":2}],"degraded":[{"name":"state-missing","text":"ok"}],"containers":3}"#
        );
    }

    proptest! {
        #[test]
        fn the_hand_written_json_is_what_serde_writes(text: String, which in 0usize..7, exit: Option<u8>) {
            let states = [
                ServiceState::Waiting, ServiceState::Starting, ServiceState::Running,
                ServiceState::Stopping, ServiceState::Restarting, ServiceState::Done,
                ServiceState::Failed,
            ];
            let status = sample(&text, states[which], exit.map(LastExit::Exited));
            let mut by_hand = String::new();
            write_json(&mut by_hand, &status).unwrap();
            prop_assert_eq!(&by_hand, &serde_json::to_string(&status).unwrap());
            prop_assert_eq!(serde_json::from_str::<Status>(&by_hand).unwrap(), status);
        }
    }
}
