//! `[Unit]`, `[Service]` and `[Install]`: what every kind of unit has.
//!
//! It knows no container.

use super::read::{millis, reachable, service_restart, set, timeout};
use super::{Draft, unhandled};
use crate::engine::values;
use crate::unit::condition::Condition;
use crate::unit::{Unit, UnitName, time};

/// A key of `[Unit]`.
pub fn unit(unit: &mut Unit, key: &str, value: &str) -> Result<(), String> {
    match key {
        "Description" => unit.description = value.to_string(),
        "After" => set(&mut unit.after, value)?,
        "Before" => set(&mut unit.before, value)?,
        "Requires" => set(&mut unit.requires, value)?,
        "Wants" => set(&mut unit.wants, value)?,
        "BindsTo" => set(&mut unit.binds_to, value)?,
        "PartOf" => set(&mut unit.part_of, value)?,
        "Requisite" => set(&mut unit.requisite, value)?,
        "Conflicts" => set(&mut unit.conflicts, value)?,
        _ if value.is_empty() => unit.conditions.clear(),
        _ => unit
            .conditions
            .push(Condition::parse(key, value)?.ok_or_else(unhandled)?),
    }
    Ok(())
}

/// A key of `[Install]`.
pub fn install(unit: &mut Unit, key: &str, value: &str) -> Result<(), String> {
    match key {
        "RequiredBy" => {
            set(&mut unit.required_by, value)?;
            reachable(&unit.required_by)
        }
        "WantedBy" => {
            set(&mut unit.wanted_by, value)?;
            reachable(&unit.wanted_by)
        }
        "DefaultInstance" => {
            // An instance has its template's lines.
            if !unit.name.contains('@') {
                return Err("only a template (NAME@) has instances".into());
            }
            UnitName::new(value)?;
            unit.default_instance = Some(value.to_string());
            Ok(())
        }
        _ => Err(unhandled()),
    }
}

impl Draft<'_> {
    /// A key of `[Service]`.
    pub(super) fn service_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "Restart" => self.options.restart = service_restart(value)?,
            "RestartSec" => {
                let delay = time::span(value)?.ok_or("expected a finite time")?;
                self.options.restart_delay_ms = Some(millis(delay));
            }
            "TimeoutStartSec" => self.start_timeout(value)?,
            "TimeoutStopSec" => self.stop_grace = timeout(value)?,
            "TimeoutSec" => {
                self.start_timeout(value)?;
                self.stop_grace = timeout(value)?;
            }
            "RemainAfterExit" => self.unit.remains = values::boolean(value)?,
            "Type" if self.unit.path.extension().is_some_and(|e| e != "container") => {
                // Quadlet's own for everything that is made, not run.
                if value != "oneshot" {
                    return Err(format!("expected oneshot, found '{value}'"));
                }
            }
            "Type" => match value {
                "notify" | "exec" | "simple" => self.unit.oneshot = false,
                "oneshot" => self.unit.oneshot = true,
                other => {
                    return Err(format!(
                        "expected notify, exec, simple or oneshot, found '{other}'"
                    ));
                }
            },
            _ => return Err(unhandled()),
        }
        Ok(())
    }

    fn start_timeout(&mut self, value: &str) -> Result<(), String> {
        self.unit.start_timeout = timeout(value)?;
        self.timed = true;
        Ok(())
    }
}
