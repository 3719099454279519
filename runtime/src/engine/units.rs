//! Units at work: which are there, where they stand, and their start in order at boot.
//!
//! A unit's container is made anew when its file or image has changed, else it is the one from
//! before: its log goes on.

pub mod face;
mod verbs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use formats::registration::StampKind;
use tokio::sync::watch;

use super::api::{UnitState, UnitSummary};
use super::container::{Container, lock};
use super::create;
use super::error::Error;
use super::machine::Event;
use super::options::{ContainerOptions, RestartPolicy};
use super::record::{Phase, State, StoppedBy};
use super::volumes;
use super::{Engine, clock};
use crate::unit::{Kind, Unit, UnitError, load, order};

/// Between two tries of a unit's start.
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// All units.
#[derive(Debug, Default)]
pub struct Board {
    folder: PathBuf,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Idle,
    Starting,
    Started,
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
            unit,
        }
    }
}

impl Entry {
    fn state(&self, state: Option<&State>) -> UnitState {
        match state_of(*self.own.borrow(), state) {
            UnitState::Failed if self.forgiven => UnitState::Inactive,
            state => state,
        }
    }
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

impl Board {
    /// Reads the folder of units.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        let (loaded, trouble) = match load::folder(folder) {
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

/// Starts what the boot targets want, in order, each as soon as what it waits for is there.
///
/// Units that run already are left alone; `boot` starts those that a user had stopped, too.
pub fn start_wanted(engine: &Arc<Engine>, boot: bool) {
    let roots: Vec<String> = {
        let board = lock(&engine.units);
        let units = board.units.values().map(|e| &e.unit);
        let wanted = units.filter(|u| u.starts_at_boot());
        wanted.map(|u| u.name.clone()).collect()
    };
    begin(engine, &roots, if boot { Why::Boot } else { Why::Again });
}

/// Begins to start units and all that they need.
fn begin(engine: &Arc<Engine>, roots: &[String], why: Why) {
    let mut board = lock(&engine.units);
    let units: Vec<Unit> = board.units.values().map(|e| e.unit.clone()).collect();
    let plan = order::plan(&units, roots.iter().map(String::as_str));
    for (name, text) in plan.problems {
        tracing::warn!("{name}: {text}");
        board.problem(&name, text);
    }
    for name in &plan.order {
        let Some(entry) = board.units.get_mut(name) else {
            continue;
        };
        let own = *entry.own.borrow();
        if own == Own::Starting {
            continue;
        }
        entry.forgiven = false;
        let is_container = matches!(entry.unit.kind, Kind::Container(_));
        if !is_container && why == Why::Asked && own == Own::Started {
            continue;
        }
        if let Some(container) = container_of(engine, &entry.unit) {
            let state = container.state();
            let again = why == Why::Again;
            let waits = state.phase == Phase::Restarting && why != Why::Asked;
            let left_alone = state.phase == Phase::Running || waits;
            let stopped = again && state.stopped_by == Some(StoppedBy::User);
            // An engine that was told to end had stopped it: the next one starts it again.
            let by_engine = state.stopped_by == Some(StoppedBy::Shutdown);
            let ended = again && state.phase == Phase::Exited && !by_engine;
            if left_alone || stopped || ended {
                entry.own.send_replace(Own::Started);
                continue;
            }
        }
        if plan.missing.contains(name) {
            // As systemd: not started without what it requires.
            entry.own.send_replace(Own::Failed(Cause::Requirement));
            continue;
        }
        entry.own.send_replace(Own::Starting);
        let entry = &board.units[name];
        let waits = plan.after.get(name).cloned().unwrap_or_default();
        let needs = plan.requires.get(name).cloned().unwrap_or_default();
        let watches: Vec<_> = waits
            .iter()
            .filter_map(|w| board.units.get(w).map(|e| (w.clone(), e.own.subscribe())))
            .map(|(w, watch)| (needs.contains(&w), w, watch))
            .collect();
        let mut own = entry.own.subscribe();
        let start = start_after(engine.clone(), entry.unit.clone(), watches);
        tokio::spawn(async move {
            tokio::select! {
                () = start => {}
                // Somebody wants it to be down in the meantime.
                _ = own.wait_for(|own| *own == Own::Idle) => {}
            }
        });
    }
    engine.changed.send_replace(());
}

async fn start_after(
    engine: Arc<Engine>,
    unit: Unit,
    watches: Vec<(bool, String, watch::Receiver<Own>)>,
) {
    for (needed, name, mut watch) in watches {
        let reached = watch.wait_for(|own| *own != Own::Starting).await;
        let failed = reached.map_or(true, |own| *own != Own::Started);
        if failed && needed {
            let text = format!("requires {name}, which failed");
            finish(&engine, &unit, Err((Cause::Requirement, text))).await;
            return;
        }
    }
    let mut pause = std::time::Duration::from_secs(5);
    loop {
        let outcome = start_in_time(&engine, &unit).await;
        let failed = outcome.is_err();
        finish(&engine, &unit, outcome).await;
        if !failed || !tries_again(&engine, &unit) {
            return;
        }
        tokio::time::sleep(pause).await;
        let container = container_of(&engine, &unit);
        if container.is_some_and(|c| c.state().stopped_by == Some(StoppedBy::User)) {
            // Somebody has decided otherwise in the meantime.
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn start_in_time(engine: &Arc<Engine>, unit: &Unit) -> Result<(), (Cause, String)> {
    let started = start(engine, unit);
    let outcome = match unit.start_timeout {
        None => Ok(started.await),
        Some(limit) => tokio::time::timeout(limit, started)
            .await
            .map_err(|_| format!("did not start within {} s", limit.as_secs())),
    };
    outcome
        .map_err(|late| (Cause::Time, late))?
        .map_err(|e| (Cause::Own, e.to_string()))
}

/// Whether a start that failed is this module's to try again: not when the container, once there,
/// sees to it by itself.
fn tries_again(engine: &Engine, unit: &Unit) -> bool {
    let Kind::Container(options) = &unit.kind else {
        return false;
    };
    let sees_to_itself = container_of(engine, unit)
        .is_some_and(|c| c.state().phase.is_up() || c.state().phase == Phase::Restarting);
    options.restart != RestartPolicy::No && !sees_to_itself && !engine.is_stopping()
}

/// Waits until every unit that was to be started has been, or has failed once.
pub async fn settled(engine: &Engine) {
    let watches: Vec<_> = {
        let board = lock(&engine.units);
        board.units.values().map(|e| e.own.subscribe()).collect()
    };
    for mut watch in watches {
        let _ = watch.wait_for(|own| *own != Own::Starting).await;
    }
}

async fn finish(engine: &Engine, unit: &Unit, outcome: Result<(), (Cause, String)>) {
    let stem = unit.name.trim_end_matches(".service").to_string();
    match outcome {
        Ok(()) => {
            lock(&engine.units).solved(&unit.name);
            engine.changed.send_replace(());
            engine.stamp(StampKind::Unit, &stem).await;
        }
        Err((cause, text)) => {
            tracing::error!("{}: {text}", unit.name);
            let mut board = lock(&engine.units);
            board.problem(&unit.name, text);
            board.set(&unit.name, Own::Failed(cause));
            engine.changed.send_replace(());
        }
    }
}

async fn start(engine: &Arc<Engine>, unit: &Unit) -> Result<(), Error> {
    match &unit.kind {
        Kind::Volume { name } => volumes::ensure(&engine.shelf.volumes(), name).map(|_| ()),
        Kind::Image { image, policy } => fetch(engine, image, *policy).await.map(|_| ()),
        Kind::Container(options) => start_container(engine, options).await,
    }
}

/// A registry that cannot be reached yet is asked again until the unit's time is up.
async fn fetch(
    engine: &Engine,
    image: &str,
    policy: super::options::PullPolicy,
) -> Result<crate::image::Image, Error> {
    let mut pause = std::time::Duration::from_millis(500);
    loop {
        match engine.puller.get(image, policy, None).await {
            Err(e) if e.status == 500 && !engine.is_stopping() && pause.as_secs() < 4 => {
                tracing::warn!("{e}: tried again in {} ms", pause.as_millis());
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
}

async fn start_container(engine: &Arc<Engine>, options: &ContainerOptions) -> Result<(), Error> {
    let image = fetch(engine, &options.image, options.pull).await?;
    let name = options.name.as_deref().unwrap_or_default();
    let before = lock(&engine.containers)
        .values()
        .find(|c| c.config.name == name)
        .cloned();
    let container = match before {
        Some(c) if fits(&c, options, &image.id.to_string()) => c,
        Some(c) if c.config.options.unit != options.unit => {
            return Err(Error::conflict(format!(
                "the name '{name}' is taken by a container of somebody else; remove it: skeg rm -f {name}"
            )));
        }
        Some(c) => {
            remove(&c).await;
            create::create(engine, options.clone(), &image).await?
        }
        None => create::create(engine, options.clone(), &image).await?,
    };
    container.tell(Event::Start { keen: true }).await?;
    let state = container.until(|s| s.phase != Phase::Starting).await?;
    match state.error {
        Some(error) if !state.phase.is_up() => Err(Error::failed(error)),
        _ => Ok(()),
    }
}

/// Whether a container is still what its unit asks for.
fn fits(container: &Container, options: &ContainerOptions, image_id: &str) -> bool {
    let mut own = container.config.options.clone();
    // The image's own volumes were added when it was created.
    let added = container.config.anonymous.iter().map(|(target, _)| target);
    for target in added {
        if !options.mounts.iter().any(|m| m.target == *target) {
            own.mounts.retain(|m| m.target != *target);
        }
    }
    own == *options && container.config.image_id == image_id
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
pub fn after(board: &Board) -> BTreeMap<String, std::collections::BTreeSet<String>> {
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
    problems
}

fn state_of(own: Own, state: Option<&State>) -> UnitState {
    let Some(state) = state else {
        return match own {
            Own::Idle => UnitState::Inactive,
            Own::Starting => UnitState::Activating,
            Own::Started => UnitState::Active,
            Own::Failed(_) => UnitState::Failed,
        };
    };
    match state.phase {
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
                || state.exit.is_some_and(|e| e.code != 0) && state.stopped_by.is_none();
            if failed {
                UnitState::Failed
            } else {
                UnitState::Inactive
            }
        }
    }
}
