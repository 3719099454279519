//! Units on their way up: in order, in their time, and again when they fail.
//!
//! A unit's container is made anew when its file or image has changed, else it is the one from
//! before: its log goes on.

use std::sync::Arc;

use formats::registration::StampKind;
use tokio::sync::watch;

use super::{Cause, Own, Why, container_of, remove, timers, verbs};
use crate::engine::Engine;
use crate::engine::api::UnitState;
use crate::engine::container::{Container, lock};
use crate::engine::create;
use crate::engine::error::Error;
use crate::engine::machine::Event;
use crate::engine::networks;
use crate::engine::options::{ContainerOptions, PullPolicy, RestartPolicy};
use crate::engine::record::{Phase, State, StoppedBy};
use crate::engine::volumes;
use crate::unit::network::Network;
use crate::unit::{Kind, Unit, order};

/// Between two tries of a unit's start.
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// Starts what the boot targets want, in order, each as soon as what it waits for is there.
///
/// Units that run already are left alone; `boot` starts those that a user had stopped, too.
pub fn start_wanted(engine: &Arc<Engine>, boot: bool) {
    verbs::known_again(engine);
    let roots: Vec<String> = {
        let board = lock(&engine.units);
        let units = board.units.values().map(|e| &e.unit);
        let wanted = units.filter(|u| u.starts_at_boot());
        wanted.map(|u| u.name.clone()).collect()
    };
    begin(engine, &roots, if boot { Why::Boot } else { Why::Again });
}

/// Begins to start units and all that they need.
pub(super) fn begin(engine: &Arc<Engine>, roots: &[String], why: Why) {
    if engine.is_stopping() {
        // A timer that elapses now starts nothing that would have to be stopped again.
        return;
    }
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
        let container = container_of(engine, &entry.unit);
        let state = container.as_ref().map(|c| c.state());
        let done = own == Own::Started && entry.unit.remains;
        if why == Why::Asked && done && entry.state(state.as_ref()) == UnitState::Active {
            continue;
        }
        if let Some(state) = state {
            let again = why == Why::Again;
            let waits = state.phase == Phase::Restarting && why != Why::Asked;
            let left_alone = state.phase == Phase::Running || waits;
            let stopped = again && state.stopped_by == Some(StoppedBy::User);
            // An engine that was told to end had stopped it: the next one starts it again.
            let by_engine = state.stopped_by == Some(StoppedBy::Shutdown);
            let ended = again && state.phase == Phase::Exited && !by_engine;
            if left_alone || stopped || ended {
                entry.own.send_replace(Own::Started);
                verbs::bind(engine, &entry.unit);
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
        let failed = reached.map_or(true, |own| !matches!(*own, Own::Started | Own::Skipped));
        if failed && needed {
            let text = format!("requires {name}, which failed");
            finish(&engine, &unit, Err((Cause::Requirement, text))).await;
            return;
        }
    }
    if let Some(stay) = verbs::stays_down(&engine, &unit) {
        match stay {
            Ok(()) => {
                lock(&engine.units).set(&unit.name, Own::Skipped);
                engine.changed.send_replace(());
            }
            Err(told) => finish(&engine, &unit, Err(told)).await,
        }
        return;
    }
    verbs::make_way(&engine, &unit).await;
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
        .map_err(|e| (Cause::Own, e.to_string()))?;
    ready(engine, unit).await
}

/// Waits until a container that tells so itself is ready; its own task sees to it that this ends.
async fn ready(engine: &Engine, unit: &Unit) -> Result<(), (Cause, String)> {
    let Kind::Container(options) = &unit.kind else {
        return Ok(());
    };
    let container = container_of(engine, unit).filter(|_| options.ready.is_some());
    let Some(container) = container else {
        return Ok(());
    };
    let told = |s: &State| !s.waiting || s.late || !s.phase.is_up();
    match container.until(told).await {
        Ok(state) if state.late => Err((Cause::Time, late(options))),
        Ok(state) if state.phase.is_up() => Ok(()),
        Ok(_) => Err((Cause::Own, "it ended before it was ready".into())),
        Err(e) => Err((Cause::Own, e.to_string())),
    }
}

/// What is told of a container that did not get ready.
pub(super) fn late(options: &ContainerOptions) -> String {
    let within = options
        .ready
        .and_then(|ready| ready.timeout_ms)
        .unwrap_or(0);
    let (seconds, ms) = (within / 1000, within % 1000);
    match ms {
        0 => format!("did not get ready within {seconds} s"),
        _ => format!("did not get ready within {seconds}.{ms:03} s"),
    }
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

async fn finish(engine: &Arc<Engine>, unit: &Unit, outcome: Result<(), (Cause, String)>) {
    let stem = unit.name.trim_end_matches(".service").to_string();
    match outcome {
        Ok(()) => {
            lock(&engine.units).solved(&unit.name);
            engine.changed.send_replace(());
            engine.stamp(StampKind::Unit, &stem).await;
            verbs::bind(engine, unit);
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
        Kind::Network(network) => ensure(engine, network).await,
        Kind::Timer(timer) => {
            timers::start(engine, &unit.name, timer);
            Ok(())
        }
        Kind::Container(options) => {
            start_container(engine, options).await?;
            match unit.oneshot {
                true => ended(engine, unit).await,
                false => Ok(()),
            }
        }
    }
}

/// Waits for the end of a unit that has started when its program has done its work.
async fn ended(engine: &Engine, unit: &Unit) -> Result<(), Error> {
    let Some(container) = container_of(engine, unit) else {
        return Ok(());
    };
    let is_down = |phase| matches!(phase, Phase::Exited | Phase::Restarting);
    let state = container.until(|s| is_down(s.phase)).await?;
    match state.exit.map_or(0, |exit| exit.code) {
        0 => Ok(()),
        code => Err(Error::failed(format!("its program ended with {code}"))),
    }
}

/// Makes a network that is not there; one that is stays as it is, since containers are in it.
async fn ensure(engine: &Engine, network: &Network) -> Result<(), Error> {
    let known = {
        let networks = engine.networks.lock().await;
        networks.records().any(|record| record.name == network.name)
    };
    if known {
        return Ok(());
    }
    let wish = networks::Wish {
        name: network.name.clone(),
        subnet: network.subnet,
        gateway: network.gateway,
        range: network.range,
        internal: network.internal,
        labels: network.labels.clone(),
        options: network.options.clone(),
        ..networks::Wish::default()
    };
    networks::create(engine, wish).await.map(|_| ())
}

/// A registry that cannot be reached yet is asked again until the unit's time is up.
async fn fetch(
    engine: &Engine,
    image: &str,
    policy: PullPolicy,
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
    // A container knows its networks by their ids.
    let mut resolved = options.clone();
    networks::resolve(&*engine.networks.lock().await, &mut resolved.networks)?;
    let container = match before {
        Some(c) if fits(&c, &resolved, &image.id.to_string()) => c,
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
    // One that is on its way down has to be there first: a start would be lost on it.
    container.until(|s| s.phase != Phase::Stopping).await?;
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
