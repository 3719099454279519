//! Units at work: which are there, and where they stand.
//!
//! It starts and stops none: [`starting`] and [`verbs`] do.

pub mod face;
pub mod starting;
mod timers;
mod verbs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::watch;

use super::api::{UnitState, UnitSummary};
use super::container::{Container, lock};
use super::machine::Event;
use super::record::{Health, Phase, State};
use super::{Engine, clock};
use crate::unit::{Kind, Unit, UnitError, load, order};

/// All units.
#[derive(Debug, Default)]
pub struct Board {
    folder: PathBuf,
    /// Instances of templates that somebody asked for.
    asked: BTreeSet<String>,
    units: BTreeMap<String, Entry>,
    errors: Vec<UnitError>,
}

#[derive(Debug)]
struct Entry {
    unit: Unit,
    /// What no container can tell: starting, failed before there was one, done.
    own: watch::Sender<Own>,
    problems: Vec<String>,
    /// What it failed with has been taken note of: it is not failed any more.
    forgiven: bool,
    /// When its file was written last before it was read.
    written: Option<SystemTime>,
    /// Its file is not there any more, and it runs on.
    gone: bool,
    /// Of a timer.
    times: Arc<Mutex<Times>>,
}

/// When a timer elapses, in seconds since the epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    next: Option<i64>,
    last: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Idle,
    Starting,
    Started,
    /// A condition does not hold: nobody waits for it, and it is not active.
    Skipped,
    Failed(Cause),
}

/// Why a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Of its own.
    Own,
    /// It took too long.
    Time,
    /// What it requires is not there.
    Requirement,
}

/// Who wants units to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The host has booted.
    Boot,
    /// A new engine: what somebody has stopped since the boot stays down.
    Again,
    /// Somebody asked.
    Asked,
}

impl Entry {
    fn new(unit: Unit) -> Self {
        Self {
            own: watch::Sender::new(Own::Idle),
            problems: Vec::new(),
            forgiven: false,
            written: written(&unit.path),
            gone: false,
            times: Arc::default(),
            unit,
        }
    }
}

impl Entry {
    fn state(&self, state: Option<&State>) -> UnitState {
        let own = *self.own.borrow();
        let stopped = state.is_some_and(|s| s.stopped_by.is_some());
        match state_of(own, state) {
            UnitState::Failed if self.forgiven => UnitState::Inactive,
            UnitState::Active if self.unit.oneshot && state.is_some() => UnitState::Activating,
            // Its program has ended with success.
            UnitState::Inactive if self.unit.remains && own == Own::Started && !stopped => {
                UnitState::Active
            }
            state => state,
        }
    }
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

impl Board {
    /// Reads the folder of units, and these instances of templates in it.
    pub fn load(folder: &Path, asked: BTreeSet<String>) -> (Self, Option<String>) {
        let (loaded, trouble) = match load::folder(folder, &asked) {
            Ok(loaded) => (loaded, None),
            Err(e) => (
                load::Loaded::default(),
                Some(format!("read units in {}: {e}", folder.display())),
            ),
        };
        let units = loaded.units.into_iter();
        let units = units.map(|unit| (unit.name.clone(), Entry::new(unit)));
        let board = Self {
            folder: folder.to_path_buf(),
            asked,
            units: units.collect(),
            errors: loaded.errors,
        };
        (board, trouble)
    }

    fn set(&mut self, name: &str, own: Own) {
        if let Some(entry) = self.units.get(name) {
            entry.own.send_replace(own);
        }
    }

    fn problem(&mut self, name: &str, text: String) {
        if let Some(entry) = self.units.get_mut(name)
            && !entry.problems.contains(&text)
        {
            entry.problems.push(text);
        }
    }

    fn solved(&mut self, name: &str) {
        if let Some(entry) = self.units.get_mut(name) {
            entry.problems.clear();
            entry.own.send_replace(Own::Started);
        }
    }
}

/// Waits until every unit that was to be started has been, or has failed once.
pub async fn settled(engine: &Engine) {
    let watches: Vec<_> = {
        let board = lock(&engine.units);
        // A job may take as long as it wants: no boot waits for its end.
        let units = board.units.values().filter(|e| !e.unit.oneshot);
        units.map(|e| e.own.subscribe()).collect()
    };
    for mut watch in watches {
        let _ = watch.wait_for(|own| *own != Own::Starting).await;
    }
}

/// Removes a container and waits until it is gone.
pub async fn remove(container: &Container) {
    let mut watch = container.watch();
    let _ = container.tell(Event::Remove).await;
    while watch.changed().await.is_ok() {}
}

fn container_of(engine: &Engine, unit: &Unit) -> Option<Arc<Container>> {
    let containers = lock(&engine.containers);
    let own = |c: &&Arc<Container>| c.config.options.unit.as_deref() == Some(&*unit.name);
    containers.values().find(own).cloned()
}

/// What each unit comes after, also by another's `Before=`.
pub fn after(board: &Board) -> BTreeMap<String, BTreeSet<String>> {
    let units: Vec<Unit> = board.units.values().map(|e| e.unit.clone()).collect();
    order::plan(&units, units.iter().map(|u| u.name.as_str())).after
}

/// What others judge a unit by.
#[derive(Debug)]
pub struct Told {
    /// With its suffix.
    pub name: String,
    /// Where it stands.
    pub state: UnitState,
    /// Since it was started by hand or at boot.
    pub restarts: u32,
    /// How long its process has run, if it does.
    pub up_for: Option<std::time::Duration>,
    /// What its checks say, if it has any.
    pub health: Option<Health>,
}

/// Where every unit stands.
pub fn told(engine: &Engine) -> Vec<Told> {
    let board = lock(&engine.units);
    let told = |entry: &Entry| {
        let state = container_of(engine, &entry.unit).map(|c| c.state());
        let started = state.as_ref().filter(|s| s.phase.is_up());
        let started = started.and_then(|s| s.started_ns);
        let age = started.map(|at| clock::wall_ns().saturating_sub(at));
        Told {
            name: entry.unit.name.clone(),
            state: entry.state(state.as_ref()),
            health: state.as_ref().and_then(|s| s.health),
            restarts: state.map_or(0, |s| s.restarts),
            up_for: age.map(std::time::Duration::from_nanos),
        }
    };
    board.units.values().map(told).collect()
}

/// Every unit, and every file that is none.
pub fn list(engine: &Engine) -> Vec<UnitSummary> {
    let board = lock(&engine.units);
    let mut list: Vec<UnitSummary> = board
        .units
        .values()
        .map(|entry| {
            let state = container_of(engine, &entry.unit).map(|c| c.state());
            UnitSummary {
                name: entry.unit.name.clone(),
                path: entry.unit.path.display().to_string(),
                description: entry.unit.description.clone(),
                state: entry.state(state.as_ref()),
                problems: problems(entry, state.as_ref()),
            }
        })
        .collect();
    list.extend(board.errors.iter().map(|error| {
        UnitSummary {
            name: error
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path: error.path.display().to_string(),
            description: "not understood".into(),
            state: UnitState::Failed,
            problems: error.to_string().lines().map(str::to_string).collect(),
        }
    }));
    list
}

fn problems(entry: &Entry, state: Option<&State>) -> Vec<String> {
    let mut problems = entry.problems.clone();
    if let Some(error) = state.and_then(|s| s.error.as_ref())
        && !problems.contains(error)
    {
        problems.push(error.clone());
    }
    if state.is_some_and(|s| s.phase.is_up()) {
        // It came up after all.
        problems.retain(|p| !p.starts_with("container "));
    }
    if let Kind::Container(options) = &entry.unit.kind {
        let (late, is_late) = (starting::late(options), state.is_some_and(|s| s.late));
        problems.retain(|p| *p != late || is_late);
        if is_late && !problems.contains(&late) {
            problems.push(late);
        }
    }
    let unhealthy = |s: &State| s.phase.is_up() && s.health == Some(Health::Unhealthy);
    if state.is_some_and(unhealthy) {
        problems.push("its health check fails".into());
    }
    problems
}

fn state_of(own: Own, state: Option<&State>) -> UnitState {
    let Some(state) = state else {
        return match own {
            Own::Idle | Own::Skipped => UnitState::Inactive,
            Own::Starting => UnitState::Activating,
            Own::Started => UnitState::Active,
            Own::Failed(_) => UnitState::Failed,
        };
    };
    match state.phase {
        Phase::Running if state.waiting => UnitState::Activating,
        Phase::Running => UnitState::Active,
        Phase::Stopping => UnitState::Deactivating,
        Phase::Starting | Phase::Restarting => UnitState::Activating,
        Phase::Created | Phase::Exited if own == Own::Starting => UnitState::Activating,
        Phase::Created => match own {
            Own::Failed(_) => UnitState::Failed,
            _ => UnitState::Inactive,
        },
        Phase::Exited => {
            let failed = state.error.is_some()
                || state.late && state.stopped_by.is_none()
                || state.exit.is_some_and(|e| e.code != 0) && state.stopped_by.is_none();
            if failed {
                UnitState::Failed
            } else {
                UnitState::Inactive
            }
        }
    }
}
