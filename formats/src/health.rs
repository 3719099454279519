//! Unit health, told by the engine on [`crate::paths::HEALTH_SOCKET`]: what the updater's gate and
//! the fleet's agent judge a host by.
//!
//! A client connects (`SOCK_STREAM`) and only reads. It gets one JSON value a line: first
//! [`Line::Hello`], then a [`Line::Unit`] for each unit, then [`Line::Synced`]; from then on a
//! `Unit` for each change and a `Gone` for each unit that was removed. A client that does not read
//! is disconnected, and starts again with a whole picture.

/// Version of the protocol.
pub const FORMAT: u32 = 1;
/// No line is longer, in bytes, line end included.
pub const MAX_LINE: usize = 4096;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "line", rename_all = "kebab-case"))]
pub enum Line {
    /// First line of a connection.
    Hello {
        /// [`FORMAT`].
        format: u32,
        /// `/proc/sys/kernel/random/boot_id`: states of another boot are not comparable.
        boot_id: String,
    },
    /// A unit's present state.
    Unit(UnitHealth),
    /// All units have been told once.
    Synced,
    /// A unit is no more.
    Gone {
        /// The unit's name.
        unit: String,
    },
}

/// What the engine knows of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnitHealth {
    /// Name with suffix, e.g. `web.service`.
    pub unit: String,
    /// Who asked for it.
    pub origin: Origin,
    /// systemd's `ActiveState`.
    pub active: Active,
    /// Its judgement, if it has a health check; without one `Unchecked`.
    pub health: Health,
    /// Restarts since it was last started on purpose.
    pub restarts: u32,
    /// When `active` or `health` last changed, in microseconds of `CLOCK_BOOTTIME`.
    pub since_us: u64,
}

impl UnitHealth {
    /// Whether a gate may count this unit as healthy: active, and not judged otherwise.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.active == Active::Active && matches!(self.health, Health::Healthy | Health::Unchecked)
    }
}

/// Who asked for a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Origin {
    /// A file of this host's configuration.
    Local,
    /// The fleet's engine, which may move it elsewhere.
    Fleet,
}

/// systemd's `ActiveState` (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Active {
    /// Up; for a one-shot, done.
    Active,
    /// On its way up, or waiting for its next restart.
    Activating,
    /// On its way down.
    Deactivating,
    /// Down as wished.
    Inactive,
    /// Down, and not as wished.
    Failed,
}

/// The judgement of a unit's own check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Health {
    /// It has no check.
    Unchecked,
    /// Within its start period and not yet judged.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row failed as its `HealthRetries` says.
    Unhealthy,
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    fn web() -> UnitHealth {
        UnitHealth {
            unit: "web.service".into(),
            origin: Origin::Local,
            active: Active::Active,
            health: Health::Unchecked,
            restarts: 2,
            since_us: 3_200_000,
        }
    }

    #[test]
    fn golden_lines() {
        for (line, text) in [
            (
                Line::Hello {
                    format: FORMAT,
                    boot_id: "b".into(),
                },
                r#"{"line":"hello","format":1,"boot_id":"b"}"#,
            ),
            (
                Line::Unit(web()),
                r#"{"line":"unit","unit":"web.service","origin":"local","active":"active","health":"unchecked","restarts":2,"since_us":3200000}"#,
            ),
            (Line::Synced, r#"{"line":"synced"}"#),
            (
                Line::Gone {
                    unit: "web.service".into(),
                },
                r#"{"line":"gone","unit":"web.service"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<Line>(text).unwrap(), line);
        }
    }

    #[test]
    fn only_an_active_unit_that_is_not_judged_otherwise_is_healthy() {
        assert!(web().is_healthy());
        for health in [Health::Starting, Health::Unhealthy] {
            assert!(!UnitHealth { health, ..web() }.is_healthy());
        }
        for active in [
            Active::Activating,
            Active::Deactivating,
            Active::Inactive,
            Active::Failed,
        ] {
            assert!(
                !UnitHealth {
                    active,
                    health: Health::Healthy,
                    ..web()
                }
                .is_healthy()
            );
        }
    }
}
