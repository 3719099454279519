//! What is asked of a unit by its name: start, stop, restart, forget, read again.
//!
//! It answers when it is done; who shows it decides how.

use std::sync::Arc;

use super::{Board, Cause, Entry, Own, Why, begin, container_of};
use crate::engine::Engine;
use crate::engine::container::lock;
use crate::engine::machine::Event;
use crate::engine::record::{Phase, StoppedBy};
use crate::systemd1::{Outcome, Verb};
use crate::unit::{Unit, order};

/// Carries a verb out.
pub async fn run(engine: Arc<Engine>, verb: Verb, name: String) -> Outcome {
    match verb {
        Verb::Start => start(&engine, &name).await,
        Verb::Stop => {
            stop(&engine, &name).await;
            Outcome::Done
        }
        Verb::Restart => restart(&engine, &name).await,
    }
}

async fn start(engine: &Arc<Engine>, name: &str) -> Outcome {
    begin(engine, &[name.to_owned()], Why::Asked);
    let watch = {
        let board = lock(&engine.units);
        board.units.get(name).map(|entry| entry.own.subscribe())
    };
    let Some(mut watch) = watch else {
        return Outcome::Failed;
    };
    let reached = watch.wait_for(|own| *own != Own::Starting).await;
    match reached.map(|own| *own) {
        Ok(Own::Started) => Outcome::Done,
        Ok(Own::Failed(Cause::Requirement)) => Outcome::Dependency,
        Ok(Own::Failed(Cause::Time)) => Outcome::Timeout,
        Ok(Own::Failed(Cause::Own)) | Err(_) => Outcome::Failed,
        Ok(Own::Idle | Own::Starting) => Outcome::Canceled,
    }
}

/// Stops a unit and what does not stay without it; those that did run.
async fn stop(engine: &Arc<Engine>, name: &str) -> Vec<String> {
    let units = units(engine);
    let mut stopped = Vec::new();
    for name in order::ends_with(&units, name) {
        if stop_one(engine, &name).await {
            stopped.push(name);
        }
    }
    stopped
}

fn units(engine: &Engine) -> Vec<Unit> {
    let board = lock(&engine.units);
    board.units.values().map(|e| e.unit.clone()).collect()
}

/// Whether it was up, or on its way.
async fn stop_one(engine: &Arc<Engine>, name: &str) -> bool {
    let (was, container) = {
        let board = lock(&engine.units);
        let Some(entry) = board.units.get(name) else {
            return false;
        };
        // A start that is on its way sees it and ends.
        let was = entry.own.send_replace(Own::Idle);
        engine.changed.send_replace(());
        (was, container_of(engine, &entry.unit))
    };
    let Some(container) = container else {
        return matches!(was, Own::Starting | Own::Started);
    };
    let ran = !matches!(container.state().phase, Phase::Created | Phase::Exited);
    let event = Event::Stop {
        by: StoppedBy::User,
        timeout: None,
    };
    if ran && container.tell(event).await.is_ok() {
        let is_down = |phase: Phase| !phase.is_up() && phase != Phase::Starting;
        let _ = container.until(|s| is_down(s.phase)).await;
    }
    ran
}

/// What ran with it comes back with it.
async fn restart(engine: &Arc<Engine>, name: &str) -> Outcome {
    let stopped = stop(engine, name).await;
    let outcome = start(engine, name).await;
    let others: Vec<String> = stopped.into_iter().filter(|n| n != name).collect();
    begin(engine, &others, Why::Asked);
    outcome
}

/// Forgets that a unit has failed, or that any has.
pub fn forgive(engine: &Engine, name: Option<&str>) {
    let mut board = lock(&engine.units);
    for entry in board.units.values_mut() {
        if name.is_none_or(|name| name == entry.unit.name) {
            entry.forgiven = true;
            entry.problems.clear();
        }
    }
}

/// Reads the files again. What runs goes on as it is, and takes up a change at its next start.
pub async fn reload(engine: Arc<Engine>) -> Result<(), String> {
    let folder = lock(&engine.units).folder.clone();
    let read = tokio::task::spawn_blocking(move || Board::load(&folder)).await;
    let (new, trouble) = read.map_err(|e| format!("read the units: {e}"))?;
    if let Some(text) = trouble {
        engine.trouble("units", text.clone());
        return Err(text);
    }
    engine.clear_trouble("units");
    let mut board = lock(&engine.units);
    let mut old = std::mem::take(&mut board.units);
    board.errors = new.errors;
    board.units = new.units;
    for (name, entry) in &mut board.units {
        if let Some(old) = old.remove(name) {
            take_over(entry, old);
        }
    }
    for (name, mut entry) in old {
        let up = |phase: Phase| !matches!(phase, Phase::Created | Phase::Exited);
        let runs = container_of(&engine, &entry.unit).is_some_and(|c| up(c.state().phase));
        if runs || *entry.own.borrow() == Own::Starting {
            entry.gone = true;
            board.units.insert(name, entry);
        }
    }
    Ok(())
}

fn take_over(entry: &mut Entry, old: Entry) {
    entry.own = old.own;
    entry.forgiven = old.forgiven;
    if entry.unit == old.unit {
        entry.problems = old.problems;
    }
}
