//! The daemon's life: open everything, take over what runs, serve, and end in order.
//!
//! What is missing is told as a trouble and gone without where that is possible; only the state
//! folder and the socket are needed to be an engine at all.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use formats::accounts;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, LocalSet};

use super::checks::Checks;
use super::container::{self, Adopted, Command, lock};
use super::create::image_signal;
use super::init_client::{self, Exits, Held};
use super::machine::{self, Event, Rules};
use super::puller::Puller;
use super::record::{Config, Phase, State, StoppedBy};
use super::shelf::Shelf;
use super::units::{self, Board};
use super::{Engine, checks, clock, docker, health, http, launch, resolv, shutdown};
use crate::beat::Beat;
use crate::image::Store;
use crate::network::Networks;
use crate::supervisor::Supervisor;
use crate::zygote;

/// The pause between beats when no watchdog asks for them.
const UNASKED: Duration = Duration::from_secs(15);

/// Where the engine finds and puts things; tests put them elsewhere.
#[derive(Debug)]
struct Places {
    state: PathBuf,
    socket: PathBuf,
    zygote: PathBuf,
    units: PathBuf,
    cgroups: PathBuf,
    docker: PathBuf,
    certificates: PathBuf,
}

impl Places {
    fn from_env() -> Self {
        let place = |key: &str, path: &str| {
            std::env::var_os(key).map_or_else(|| PathBuf::from(path), PathBuf::from)
        };
        Self {
            state: place("SKEG_STATE", formats::paths::ENGINE_STATE),
            socket: crate::cli::socket(),
            zygote: zygote_socket(),
            units: place("SKEG_UNITS", formats::paths::QUADLET),
            cgroups: place("SKEG_CGROUPS", "/sys/fs/cgroup"),
            docker: place("SKEG_DOCKER_SOCKET", formats::paths::DOCKER_SOCKET),
            certificates: place(
                "SKEG_DOCKER_CERTIFICATES",
                formats::paths::DOCKER_CERTIFICATES,
            ),
        }
    }
}

/// Where the zygote listens, unless `SKEG_ZYGOTE_SOCKET` says otherwise.
#[must_use]
pub fn zygote_socket() -> PathBuf {
    std::env::var_os("SKEG_ZYGOTE_SOCKET").map_or_else(
        || PathBuf::from(formats::paths::ZYGOTE_SOCKET),
        PathBuf::from,
    )
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start at all.
pub fn main() -> anyhow::Result<()> {
    sys::heap::keep_small();
    crate::daemon_log::start();
    crate::crash::permit()?;
    clock::steady();
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .context("start the event loop")?;
    runtime.block_on(LocalSet::new().run_until(serve(Places::from_env())))
}

/// Each container takes four descriptors: the usual soft limit would end at some 250 of them.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("raise the limit of open files: {e}");
    }
}

async fn serve(places: Places) -> anyhow::Result<()> {
    let notify = Supervisor::from_environment();
    // First of all, so that a stop during the start is not missed.
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let boot = !boot_marker(&places).exists();
    let engine = open(&places, boot).await?;
    let (exits, starts) = take_over(&engine, boot).await;
    let listener = listen(&places.socket)?;
    tokio::task::spawn_local(watch_exits(engine.clone(), exits));
    match listen(&places.socket.with_file_name("health.sock")) {
        Ok(listener) => drop(tokio::spawn(health::serve(engine.clone(), listener))),
        Err(e) => engine.trouble("health", format!("{e:#}")),
    }
    tokio::spawn(checks::serve(engine.clone()));
    tokio::spawn(resolv::follow(engine.clone()));
    let app = http::router(engine.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    match listen(&places.docker) {
        Ok(listener) => docker::serve(&engine, listener, &places.certificates),
        Err(e) => engine.trouble("docker", format!("{e:#}")),
    }
    notify.tell("READY=1");
    units::face::serve(&engine);
    units::starting::start_wanted(&engine, boot);
    tokio::spawn(mark_boot(engine.clone(), starts, boot_marker(&places)));
    let beat = Beat::for_watchdog(UNASKED).context("make a timer")?;
    loop {
        tokio::select! {
            () = beat.next() => {
                notify.tell(&format!("WATCHDOG=1\nSTATUS={}", counts(&engine)));
                sys::heap::trim();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: {}", counts(&engine));
    shutdown::run(&engine, &notify).await;
    let _ = std::fs::remove_file(&places.socket);
    Ok(())
}

fn counts(engine: &Engine) -> String {
    let all = engine.all();
    let running = all.iter().filter(|c| c.state().phase.is_up()).count();
    let units = units::list(engine);
    let failed = units
        .iter()
        .filter(|u| u.state == super::api::UnitState::Failed)
        .count();
    let mut text = format!(
        "{running} of {} containers run, {} units",
        all.len(),
        units.len()
    );
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    text
}

/// A file that does not outlive the boot: once the units of this boot have been started, a later
/// engine starts none that somebody has stopped since.
fn boot_marker(places: &Places) -> PathBuf {
    places.socket.with_extension("booted")
}

async fn mark_boot(engine: Arc<Engine>, starts: Vec<JoinHandle<()>>, marker: PathBuf) {
    units::settled(&engine).await;
    for start in starts {
        let _ = start.await;
    }
    engine.booting.store(false, Ordering::Relaxed);
    if let Err(e) = std::fs::write(&marker, b"") {
        tracing::warn!("write {}: {e}", marker.display());
    }
}

async fn open(places: &Places, boot: bool) -> anyhow::Result<Arc<Engine>> {
    let shelf = Shelf::open(&places.state)
        .with_context(|| format!("open the state folder {}", places.state.display()))?;
    let store = Store::open(&shelf.images())
        .with_context(|| format!("open the image store {}", shelf.images().display()))?;
    let mut networks = Networks::open()
        .await
        .context("open the container networks")?;
    let (records, damaged_networks) = shelf.network_records()?;
    records.into_iter().for_each(|record| networks.add(record));
    let (board, trouble) = Board::load(&places.units, Default::default());
    let cgroups = cgroups(&places.cgroups);
    let booting = Arc::new(AtomicBool::new(boot));
    let engine = Arc::new(Engine {
        puller: Puller::start(store.clone(), booting.clone()),
        zygote: zygote::Client::new(&places.zygote),
        networks: tokio::sync::Mutex::new(networks),
        run: places
            .socket
            .parent()
            .unwrap_or(Path::new("/"))
            .to_path_buf(),
        checks: Checks::default(),
        containers: Mutex::default(),
        units: Mutex::new(board),
        troubles: Mutex::new(BTreeMap::new()),
        filling: Mutex::new(()),
        changed: tokio::sync::watch::Sender::new(()),
        stopping: AtomicBool::new(false),
        docker: docker::Kept::default(),
        booting,
        cgroups,
        shelf,
        store,
    });
    if let Some(text) = trouble {
        engine.trouble("units", text);
    }
    for text in damaged_networks {
        engine.trouble(&text, format!("a network cannot be used: {text}"));
    }
    if engine.cgroups.is_none() {
        let text = format!(
            "no cgroup {} below {}: containers have no limits",
            formats::paths::CGROUP_CONTAINERS,
            places.cgroups.display()
        );
        engine.trouble("cgroups", text);
    }
    Ok(engine)
}

fn cgroups(mount: &Path) -> Option<PathBuf> {
    let containers = mount.join(formats::paths::CGROUP_CONTAINERS);
    let usable = mount.join("cgroup.controllers").exists() && containers.is_dir();
    usable.then(|| mount.to_path_buf())
}

fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    let what = || format!("listen at {}", socket.display());
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder).with_context(what)?;
    }
    // Under another name first, so that it is never open to others for a moment. One engine at a
    // time: the store's lock has been taken by now.
    let new = socket.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(what),
        _ => {}
    }
    let listener = UnixListener::bind(&new).with_context(what)?;
    let groups = std::fs::read_to_string(formats::paths::GROUPS).unwrap_or_default();
    let group = accounts::group(&groups, accounts::API_GROUP);
    if let Some(group) = group {
        std::os::unix::fs::chown(&new, None, Some(group)).with_context(what)?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&new, mode).with_context(what)?;
    std::fs::rename(&new, socket).with_context(what)?;
    Ok(listener)
}

/// Loads all containers and joins them with what PID 1 holds.
async fn take_over(engine: &Arc<Engine>, boot: bool) -> (Option<Exits>, Vec<JoinHandle<()>>) {
    // Subscribed before the list is taken: no exit falls between.
    let exits = match Exits::subscribe().await {
        Ok(exits) => Some(exits),
        Err(e) => {
            engine.trouble("pid1", e.to_string());
            None
        }
    };
    let mut held = without_unstarted(held(engine).await).await;
    let loaded = match engine.shelf.load() {
        Ok(loaded) => loaded,
        Err(e) => {
            engine.trouble("containers", format!("read the containers: {e}"));
            return (exits, Vec::new());
        }
    };
    for (id, text) in loaded.damaged {
        engine.trouble(&id, format!("container {id} cannot be used: {text}"));
    }
    let mut known = loaded.containers;
    for (config, text) in loaded.stateless {
        let is_held = held.contains_key(&config.id);
        engine.trouble(&config.id, without_state(&config, &text, is_held));
        if is_held {
            // What PID 1 tells of its process stands in for the state.
            known.push((config, State::default()));
        }
    }
    known.sort_by_key(|(config, _)| config.created);
    let containers: Vec<_> = known
        .into_iter()
        .map(|(config, state)| {
            let adopted = held.remove(&config.id);
            (config, state, adopted)
        })
        .collect();
    restore_networks(engine, &containers).await;
    let mut starts = Vec::new();
    for (config, state, adopted) in containers {
        if adopted.is_none() {
            // The engine before this one may have died between the release and the cleaning up.
            launch::sweep(engine, &config).await;
        }
        let (state, start) = after_start(&config, state, adopted.is_some(), boot);
        let image = engine.store.find(&config.image_id);
        let signal = image.as_ref().and_then(image_signal);
        let rules =
            Rules::new(&config.options, signal, &config.id).checked_by(config.health.as_ref());
        let id = config.id.clone();
        let container = container::spawn(engine, config, state, rules, adopted);
        lock(&engine.containers).insert(id, container.clone());
        if start {
            starts.push(container);
        } else if is_left_over(&container) {
            // Its end or its removal was cut, or the host went down.
            tokio::spawn(async move { units::remove(&container).await });
        }
    }
    for id in held.into_keys() {
        tokio::spawn(disown(engine.clone(), id));
    }
    let starts = starts.into_iter().map(|container| {
        tokio::spawn(async move {
            let _ = container.tell(Event::Start { keen: true }).await;
            let _ = container.until(|s| s.phase != Phase::Starting).await;
        })
    });
    (exits, starts.collect())
}

fn without_state(config: &Config, text: &str, is_held: bool) -> String {
    let (name, id) = (&config.name, &config.id);
    if is_held {
        format!(
            "container {name}: its state was damaged and is made anew from its process; what it was before is lost: {text}"
        )
    } else {
        format!("container {id} cannot be used: {text}")
    }
}

/// Ends what PID 1 holds and nobody knows: of a container that was removed, or whose creation was cut.
async fn disown(engine: Arc<Engine>, id: String) {
    tracing::warn!("PID 1 holds {id}, which is not a container any more: killed and released");
    if let Some(path) = engine.cgroup_of(&id)
        && let Ok(cgroup) = crate::container::cgroup::Cgroup::open(&path)
        && let Err(e) = cgroup.remove().await
    {
        tracing::warn!("remove cgroup {}: {e}", path.display());
    }
    container::release(&id).await;
}

/// What PID 1 holds. To take a container that runs for one that does not would start it twice: only
/// where there is no PID 1 of ours is nothing held.
async fn held(engine: &Engine) -> HashMap<String, Adopted> {
    let list = loop {
        match init_client::list() {
            Ok(list) => break list,
            Err(e @ init_client::Error::Absent(_)) => {
                engine.trouble("pid1", e.to_string());
                break Vec::new();
            }
            Err(e) => {
                tracing::warn!("list what PID 1 holds: {e}; asked again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    list.into_iter()
        .map(|Held { slot, stdio }| (slot.id.to_string(), Adopted { slot, stdio }))
        .collect()
}

/// Frees the slots of children whose engine died before it let them start. They have exited, and their exit
/// says nothing of their programs, which never ran.
async fn without_unstarted(mut held: HashMap<String, Adopted>) -> HashMap<String, Adopted> {
    let mut unstarted = Vec::new();
    for (id, adopted) in &mut held {
        let Some(status) = adopted.stdio.pop() else {
            continue;
        };
        match zygote::client::has_run(status).await {
            Ok(true) => {}
            Ok(false) => unstarted.push(id.clone()),
            Err(e) => tracing::warn!("whether {id} was started: {e}; taken as started"),
        }
    }
    for id in unstarted {
        tracing::info!("{id} was never started");
        container::release(&id).await;
        held.remove(&id);
    }
    held
}

async fn restore_networks(engine: &Engine, containers: &[(Config, State, Option<Adopted>)]) {
    let alive = containers
        .iter()
        .filter(|(_, _, adopted)| adopted.as_ref().is_some_and(|a| a.slot.exit.is_none()));
    // The file first: it is written before the state is.
    let attachments = alive
        .filter_map(|(config, state, _)| {
            let saved = engine.shelf.network(&config.id);
            saved.or_else(|| state.network.clone())
        })
        .collect();
    if let Err(e) = engine.networks.lock().await.restore(attachments).await {
        engine.trouble("network", format!("take over the container networks: {e}"));
    }
}

/// The state of a container when an engine comes up, and whether it is to be started.
///
/// Units start their own at boot; a start that the engine's death cut is begun again.
fn after_start(config: &Config, mut state: State, held: bool, boot: bool) -> (State, bool) {
    if held {
        return (state, false);
    }
    let was_up = state.phase.is_up();
    let was_cut = matches!(state.phase, Phase::Starting | Phase::Restarting);
    if was_up && state.exit.is_none() {
        state.error = Some("the host went down while it ran".into());
        state.error_code = 255;
    }
    if was_up || was_cut {
        state.phase = Phase::Exited;
        state.process = None;
        state.network = None;
    }
    let at_boot = config.options.unit.is_none()
        && machine::starts_at_boot(&state, config.options.restart, was_up || was_cut);
    let by_engine = state.stopped_by == Some(StoppedBy::Shutdown);
    let start = if boot || by_engine { at_boot } else { was_cut };
    let start = start && !state.removing;
    (state, start)
}

/// Whether a removal was cut, or a container that removes itself has ended without having done so.
fn is_left_over(container: &container::Container) -> bool {
    let state = container.state();
    state.removing || container.config.options.auto_remove && state.phase == Phase::Exited
}

/// Hands exits to their containers; a connection that is gone is made anew.
async fn watch_exits(engine: Arc<Engine>, mut exits: Option<Exits>) {
    loop {
        let Some(watched) = &exits else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            exits = Exits::subscribe().await.ok();
            if exits.is_some() {
                engine.clear_trouble("pid1");
                for Held { slot, .. } in init_client::list().unwrap_or_default() {
                    tell(&engine, slot).await;
                }
            }
            continue;
        };
        match watched.next().await {
            Ok(slot) => tell(&engine, slot).await,
            Err(e) => {
                tracing::warn!("{e}");
                exits = None;
            }
        }
    }
}

async fn tell(engine: &Engine, slot: formats::registration::Slot) {
    let container = lock(&engine.containers).get(slot.id.as_str()).cloned();
    if let Some(container) = container {
        // Its own task waits for nothing that this loop does.
        let _ = container.send(Command::Exited(slot)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{ContainerOptions, RestartPolicy};

    fn started(
        restart: RestartPolicy,
        phase: Phase,
        stopped_by: Option<StoppedBy>,
        boot: bool,
    ) -> bool {
        let config = Config {
            format: 1,
            id: "a".into(),
            name: "a".into(),
            created: 0,
            options: ContainerOptions {
                restart,
                ..ContainerOptions::default()
            },
            image_id: String::new(),
            command: String::new(),
            anonymous: Vec::new(),
            health: None,
        };
        let state = State {
            phase,
            stopped_by,
            started_ns: Some(1),
            ..State::default()
        };
        after_start(&config, state, false, boot).1
    }

    #[test]
    fn what_an_ending_engine_stopped_comes_back_with_the_next() {
        let policy = RestartPolicy::UnlessStopped;
        let (shutdown, user) = (Some(StoppedBy::Shutdown), Some(StoppedBy::User));
        for boot in [true, false] {
            assert!(started(policy, Phase::Exited, shutdown, boot));
            assert!(!started(policy, Phase::Exited, user, boot));
            assert!(started(policy, Phase::Starting, None, boot));
        }
        assert!(!started(policy, Phase::Exited, None, false));
        assert!(!started(RestartPolicy::No, Phase::Exited, shutdown, false));
    }
}
