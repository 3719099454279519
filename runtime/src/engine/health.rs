//! Unit health for others, on [`formats::paths::HEALTH_SOCKET`]: the whole picture, then each change.
//!
//! It judges nothing, and wakes only when something has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use formats::health::{Active, FORMAT, Health, Line, MAX_LINE, Origin, UnitHealth};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

use super::Engine;
use super::api::UnitState;
use super::record;
use super::units::{self, Told};

/// After a client could not be let in, e.g. for want of descriptors.
const PAUSE: Duration = Duration::from_millis(500);
/// A client that does not take a line for so long is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves clients for as long as the engine runs.
pub async fn serve(engine: Arc<Engine>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(tell(engine.clone(), stream));
            }
            Err(e) => {
                tracing::warn!("accept at the health socket: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn tell(engine: Arc<Engine>, mut stream: UnixStream) {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hello = Line::Hello {
        format: FORMAT,
        boot_id: boot_id.trim().to_owned(),
    };
    // Before the first look, so that no change falls between.
    let mut changed = engine.changed.subscribe();
    let mut picture = Picture::default();
    let mut lines = vec![hello];
    lines.extend(picture.changes(units::told(&engine), now_us()));
    lines.push(Line::Synced);
    loop {
        if !send(&mut stream, &lines).await {
            return;
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = hung_up(&stream) => return,
        }
        lines = picture.changes(units::told(&engine), now_us());
    }
}

/// A client only reads: whatever comes from it is its end.
async fn hung_up(stream: &UnixStream) {
    let is_early = |read: std::io::Result<usize>| {
        read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    };
    while stream.readable().await.is_ok() && is_early(stream.try_read(&mut [0; 16])) {}
}

async fn send(stream: &mut UnixStream, lines: &[Line]) -> bool {
    for line in lines {
        let Ok(mut text) = serde_json::to_string(line) else {
            continue;
        };
        text.push('\n');
        if text.len() > MAX_LINE {
            continue;
        }
        let sent = tokio::time::timeout(PATIENCE, stream.write_all(text.as_bytes())).await;
        if !matches!(sent, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

/// What a client was told.
#[derive(Debug, Default)]
struct Picture {
    units: BTreeMap<String, UnitHealth>,
}

impl Picture {
    /// The lines that make this picture the present one.
    fn changes(&mut self, present: Vec<Told>, now_us: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut left = std::mem::take(&mut self.units);
        for told in present {
            let mut unit = health(told, now_us);
            let before = left.remove(&unit.unit);
            let same = |b: &&UnitHealth| {
                b.active == unit.active && b.restarts == unit.restarts && b.health == unit.health
            };
            if let Some(before) = before.as_ref().filter(same) {
                unit.since_us = before.since_us;
            }
            if before.as_ref() != Some(&unit) {
                lines.push(Line::Unit(unit.clone()));
            }
            self.units.insert(unit.unit.clone(), unit);
        }
        lines.extend(left.into_keys().map(|unit| Line::Gone { unit }));
        lines
    }
}

fn health(told: Told, now_us: u64) -> UnitHealth {
    let age_us = told
        .up_for
        .map_or(0, |up| u64::try_from(up.as_micros()).unwrap_or(0));
    UnitHealth {
        unit: told.name,
        origin: Origin::Local,
        active: match told.state {
            UnitState::Active => Active::Active,
            UnitState::Activating => Active::Activating,
            UnitState::Deactivating => Active::Deactivating,
            UnitState::Inactive => Active::Inactive,
            UnitState::Failed => Active::Failed,
        },
        health: match told.health {
            None => Health::Unchecked,
            Some(record::Health::Starting) => Health::Starting,
            Some(record::Health::Healthy) => Health::Healthy,
            Some(record::Health::Unhealthy) => Health::Unhealthy,
        },
        restarts: told.restarts,
        since_us: now_us.saturating_sub(age_us),
    }
}

/// Microseconds of `CLOCK_BOOTTIME`.
fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanoseconds / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: UnitState, restarts: u32) -> Vec<Told> {
        vec![Told {
            name: "web.service".into(),
            state,
            restarts,
            up_for: None,
            health: None,
        }]
    }

    #[test]
    fn only_changes_are_told_and_a_restart_is_one() {
        let mut picture = Picture::default();
        let active = || told(UnitState::Active, 0);
        let first = picture.changes(active(), 5);
        assert!(matches!(&first[..], [Line::Unit(u)] if u.is_healthy() && u.since_us == 5));
        assert!(picture.changes(active(), 9).is_empty());
        let restarted = picture.changes(told(UnitState::Active, 1), 12);
        assert!(matches!(&restarted[..], [Line::Unit(u)] if u.restarts == 1 && u.since_us == 12));
        let failed = picture.changes(told(UnitState::Failed, 1), 20);
        assert!(matches!(&failed[..], [Line::Unit(u)] if !u.is_healthy()));
        let gone = picture.changes(Vec::new(), 30);
        assert_eq!(
            gone,
            [Line::Gone {
                unit: "web.service".into()
            }]
        );
    }

    #[test]
    fn a_gate_does_not_count_a_unit_whose_check_fails() {
        let mut picture = Picture::default();
        let judged = |health| {
            let mut told = told(UnitState::Active, 0);
            told[0].health = Some(health);
            told
        };
        picture.changes(judged(record::Health::Healthy), 5);
        let unhealthy = picture.changes(judged(record::Health::Unhealthy), 9);
        assert!(matches!(&unhealthy[..], [Line::Unit(u)] if !u.is_healthy() && u.since_us == 9));
    }
}
