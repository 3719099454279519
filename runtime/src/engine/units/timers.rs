//! Timers at work: each waits for its moment and starts its unit.
//!
//! When that moment is, [`crate::unit::timer`] says. A jump of the clock is noticed within
//! [`LONGEST`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::starting::begin;
use super::{Own, Times, Why, container_of};
use crate::engine::Engine;
use crate::engine::clock;
use crate::engine::container::lock;
use crate::unit::timer::{Moments, Timer};

/// No sleep is longer, since the wall clock may be set.
const LONGEST: Duration = Duration::from_secs(600);
/// Two starts are never closer.
const LEAST: Duration = Duration::from_secs(1);

/// Sets a timer going; it ends when its unit is stopped.
pub fn start(engine: &Arc<Engine>, name: &str, timer: &Timer) {
    let (engine, name) = (engine.clone(), name.to_owned());
    let watch = {
        let board = lock(&engine.units);
        let entry = board.units.get(&name);
        entry.map(|entry| (entry.own.subscribe(), entry.times.clone()))
    };
    let Some((mut own, times)) = watch else {
        return;
    };
    let timer = timer.clone();
    tokio::spawn(async move {
        let mut moments = Moments {
            boot: seconds(clock::wall_of_ticks(0)),
            started: now(),
            last: last(&engine, &name, &timer),
            ..Moments::default()
        };
        loop {
            look(&engine, &timer, &mut moments);
            let next = timer.next(&moments, now());
            *lock(&times) = Times {
                next,
                last: moments.last,
            };
            let pause = next.map_or(LONGEST, |next| until(next, now()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = own.wait_for(|own| *own == Own::Idle) => break,
            }
            if next.is_some_and(|next| next <= now()) {
                moments.last = Some(now());
                keep(&engine, &name);
                tracing::info!("{name} elapsed: starts {}", timer.unit);
                begin(&engine, std::slice::from_ref(&timer.unit), Why::Asked);
                tokio::time::sleep(LEAST).await;
            }
        }
        *lock(&times) = Times::default();
    });
}

fn until(next: i64, now: i64) -> Duration {
    let left = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
    Duration::from_secs(left).min(LONGEST)
}

fn now() -> i64 {
    seconds(clock::wall_ns())
}

fn seconds(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX)
}

/// What the unit of a timer has done.
fn look(engine: &Engine, timer: &Timer, moments: &mut Moments) {
    let board = lock(&engine.units);
    let entry = board.units.get(&timer.unit);
    let state = entry
        .and_then(|e| container_of(engine, &e.unit))
        .map(|c| c.state());
    let Some(state) = state else {
        return;
    };
    moments.unit_started = state.started_ns.map(seconds);
    moments.unit_ended = state.exit.map(|exit| seconds(exit.at_ns));
}

/// Its time of change is when the timer elapsed last, as with systemd's stamps; it says in which boot.
fn stamp(engine: &Engine, name: &str) -> PathBuf {
    engine.shelf.timers().join(format!("stamp-{name}"))
}

/// Of an earlier boot only what is persistent counts.
fn last(engine: &Engine, name: &str, timer: &Timer) -> Option<i64> {
    let path = stamp(engine, name);
    let written = std::fs::metadata(&path).and_then(|m| m.modified());
    let Ok(written) = written else {
        if timer.persistent {
            // What is missed from now on is made up for.
            keep(engine, name);
        }
        return None;
    };
    let this_boot = std::fs::read_to_string(&path).is_ok_and(|boot| boot == boot_id());
    let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = i64::try_from(since.as_secs()).ok();
    at.filter(|_| timer.persistent || this_boot)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn keep(engine: &Engine, name: &str) {
    let path = stamp(engine, name);
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(e) = made.and_then(|()| std::fs::write(&path, boot_id())) {
        tracing::warn!("write {}: {e}", path.display());
    }
}
