//! What is asked of a unit by its name: start, stop, restart, forget, read again.
//!
//! It answers when it is done; who shows it decides how.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::starting::begin;
use super::{Board, Cause, Entry, Own, Why, container_of};
use crate::engine::Engine;
use crate::engine::api::UnitState;
use crate::engine::container::lock;
use crate::engine::machine::Event;
use crate::engine::record::{Phase, StoppedBy};
use crate::systemd1::{Outcome, Verb};
use crate::unit::condition::{self, Verdict};
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
        // As systemd: to leave a unit alone because of a condition is no failure.
        Ok(Own::Started | Own::Skipped) => Outcome::Done,
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
    engine.changed.send_replace(());
}

/// Reads the files again. What runs goes on as it is, and takes up a change at its next start.
pub async fn reload(engine: Arc<Engine>) -> Result<(), String> {
    let (folder, asked) = {
        let board = lock(&engine.units);
        (board.folder.clone(), board.asked.clone())
    };
    let read = tokio::task::spawn_blocking(move || Board::load(&folder, asked)).await;
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
    engine.changed.send_replace(());
    Ok(())
}

/// Makes an instance of a template a unit, if it can be one; the others stay as they are.
pub fn instance(engine: &Engine, name: &str) -> bool {
    let mut board = lock(&engine.units);
    if board.units.contains_key(name) {
        return true;
    }
    if !name.contains('@') {
        return false;
    }
    let (mut new, _) = Board::load(&board.folder, BTreeSet::from([name.to_owned()]));
    let Some(entry) = new.units.remove(name) else {
        return false;
    };
    board.units.insert(name.to_owned(), entry);
    board.asked.insert(name.to_owned());
    engine.changed.send_replace(());
    true
}

/// Instances that somebody asked the engine before for, and that have their containers still.
pub fn known_again(engine: &Engine) {
    let containers = engine.all();
    let units = containers
        .iter()
        .filter_map(|c| c.config.options.unit.clone());
    for unit in units.filter(|unit| unit.contains('@')) {
        instance(engine, &unit);
    }
}

/// Why a unit is not started though it was asked to: `Ok` when that is no failure.
pub fn stays_down(engine: &Engine, unit: &Unit) -> Option<Result<(), (Cause, String)>> {
    let board = lock(&engine.units);
    let is_active = |name: &String| {
        let entry = board.units.get(name);
        entry.is_some_and(|e| {
            let state = container_of(engine, &e.unit).map(|c| c.state());
            e.state(state.as_ref()) == UnitState::Active
        })
    };
    if let Some(missing) = unit.requisite.iter().find(|name| !is_active(name)) {
        let text = format!("{missing} is not active, and has to be (Requisite=)");
        return Some(Err((Cause::Requirement, text)));
    }
    match condition::judge(&unit.conditions, condition::holds) {
        Verdict::Start => None,
        Verdict::Skip => Some(Ok(())),
        Verdict::Fail => {
            let text = "an assertion of its file does not hold".to_owned();
            Some(Err((Cause::Own, text)))
        }
    }
}

/// Stops what a unit never runs beside.
pub async fn make_way(engine: &Arc<Engine>, unit: &Unit) {
    let against = |other: &&Unit| {
        unit.conflicts.contains(&other.name) || other.conflicts.contains(&unit.name)
    };
    let others: Vec<String> = units(engine)
        .iter()
        .filter(against)
        .map(|other| other.name.clone())
        .collect();
    for other in others.iter().filter(|other| **other != unit.name) {
        stop(engine, other).await;
    }
}

/// Ends a unit when one that it is bound to has ended, for whatever reason.
pub fn bind(engine: &Arc<Engine>, unit: &Unit) {
    for other in &unit.binds_to {
        let board_engine = engine.clone();
        let (name, other) = (unit.name.clone(), other.clone());
        tokio::spawn(async move {
            let engine = board_engine;
            let Some(container) = units(&engine)
                .iter()
                .find(|u| u.name == other)
                .and_then(|u| container_of(&engine, u))
            else {
                return;
            };
            let is_down = |phase| matches!(phase, Phase::Exited | Phase::Created);
            let _ = container.until(|s| is_down(s.phase)).await;
            if !engine.is_stopping() {
                tracing::info!("{name} ends with {other}, which it is bound to");
                stop(&engine, &name).await;
            }
        });
    }
}

fn take_over(entry: &mut Entry, old: Entry) {
    entry.own = old.own;
    entry.forgiven = old.forgiven;
    entry.times = old.times;
    if entry.unit == old.unit {
        entry.problems = old.problems;
    }
}
