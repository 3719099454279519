//! The engine's units behind systemd's face.
//!
//! It shows and hands on; what a unit does is decided elsewhere.

use std::sync::Arc;

use super::{Cause, Entry, Kind, Own, container_of, verbs, written};
use crate::container::cgroup::Cgroup;
use crate::engine::Engine;
use crate::engine::api::UnitState;
use crate::engine::container::{lock, open_pidfd};
use crate::engine::options::RestartPolicy;
use crate::engine::record::{Phase, State};
use crate::systemd1::server::Server;
use crate::systemd1::view::{Active, Links, Load, Service, Timer, View};
use crate::systemd1::{Doing, Outcome, Units, Verb};
use crate::unit::UnitError;
use formats::paths;

/// Serves the face; where that is not possible the engine does without.
pub fn serve(engine: &Arc<Engine>) {
    let started = boot_us();
    let server = Server::new(Arc::new(Behind(engine.clone())), started);
    let place = |key: &str, path: &str| {
        std::env::var_os(key).map_or_else(|| path.into(), std::path::PathBuf::from)
    };
    let private = place("SKEG_SYSTEMD_PRIVATE", paths::SYSTEMD_PRIVATE);
    let bus = place("SKEG_SYSTEMD_SOCKET", paths::SYSTEMD_SOCKET);
    let booted = private.with_file_name("system");
    let made = std::fs::create_dir_all(&booted)
        .and_then(|()| server.listen(&private))
        .and_then(|()| server.listen(&bus));
    if let Err(e) = made {
        let text = format!("serve systemctl at {}: {e}", private.display());
        engine.trouble("systemd1", text);
    }
}

/// Wall time of the boot, microseconds since the epoch.
fn boot_us() -> u64 {
    crate::engine::clock::wall_of_ticks(0) / 1000
}

struct Behind(Arc<Engine>);

impl Units for Behind {
    fn views(&self) -> Vec<View> {
        let engine = &self.0;
        let board = lock(&engine.units);
        let mut views: Vec<View> = board.units.values().map(|e| view(engine, e)).collect();
        let bad = board.errors.iter().filter_map(misread);
        let bad: Vec<View> = bad
            .filter(|b| !views.iter().any(|v| v.name == b.name))
            .collect();
        views.extend(bad);
        let wanted = board.units.values().filter(|e| e.unit.starts_at_boot());
        views.push(target(wanted.map(|e| e.unit.name.clone()).collect()));
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn run(&self, verb: Verb, unit: &str) -> Doing<Outcome> {
        Box::pin(verbs::run(self.0.clone(), verb, unit.to_owned()))
    }

    fn kill(&self, unit: &str, all: bool, signal: i32) -> Doing<Result<(), String>> {
        let sent = if all {
            self.signal_all(unit, signal)
        } else {
            self.signal_main(unit, signal)
        };
        Box::pin(std::future::ready(sent))
    }

    fn reset_failed(&self, unit: Option<&str>) {
        verbs::forgive(&self.0, unit);
    }

    fn reload(&self) -> Doing<Result<(), String>> {
        Box::pin(verbs::reload(self.0.clone()))
    }

    fn processes(&self, unit: &str) -> Vec<(String, u32, String)> {
        let Some((cgroup, path)) = self.cgroup(unit) else {
            return Vec::new();
        };
        let pids = cgroup.processes().unwrap_or_default();
        let row = |pid| (path.clone(), pid, command_line(pid));
        pids.into_iter().map(row).collect()
    }

    fn load(&self, unit: &str) {
        verbs::instance(&self.0, unit);
    }

    fn detail(&self, view: &mut View) {
        let Some((cgroup, _)) = self.cgroup(&view.name) else {
            return;
        };
        if let (Some(service), Ok(usage)) = (&mut view.service, cgroup.usage()) {
            service.memory = usage.memory;
            service.cpu = usage.cpu_us.saturating_mul(1000);
            service.tasks = usage.pids;
        }
    }
}

impl Behind {
    fn state(&self, unit: &str) -> Option<(String, State)> {
        let board = lock(&self.0.units);
        let container = container_of(&self.0, &board.units.get(unit)?.unit)?;
        Some((container.config.id.clone(), container.state()))
    }

    /// The cgroup of a unit that runs, and its path as the kernel tells it.
    fn cgroup(&self, unit: &str) -> Option<(Cgroup, String)> {
        let (id, state) = self.state(unit)?;
        if !state.phase.is_up() {
            return None;
        }
        let cgroup = Cgroup::open(&self.0.cgroup_of(&id)?).ok()?;
        Some((cgroup, shown(&id)))
    }

    fn signal_main(&self, unit: &str, signal: i32) -> Result<(), String> {
        let process = self.state(unit).and_then(|(_, state)| state.process);
        let pidfd = process.and_then(open_pidfd).ok_or("it does not run")?;
        send(&pidfd, signal)
    }

    /// To each process that is in the cgroup once we hold it: an id that was given away is not meant.
    fn signal_all(&self, unit: &str, signal: i32) -> Result<(), String> {
        let (cgroup, _) = self.cgroup(unit).ok_or("it does not run")?;
        let list = || {
            cgroup
                .processes()
                .map_err(|e| format!("read its cgroup: {e}"))
        };
        for pid in list()? {
            let Some(pid_of) = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            else {
                continue;
            };
            let flags = rustix::process::PidfdFlags::empty();
            let Ok(pidfd) = rustix::process::pidfd_open(pid_of, flags) else {
                continue;
            };
            if list()?.contains(&pid) {
                send(&pidfd, signal)?;
            }
        }
        Ok(())
    }
}

fn send(pidfd: &std::os::fd::OwnedFd, signal: i32) -> Result<(), String> {
    let named = rustix::process::Signal::from_named_raw(signal);
    let named = named.ok_or_else(|| format!("signal {signal} has no name"))?;
    match rustix::process::pidfd_send_signal(pidfd, named) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(format!("send signal {signal}: {e}")),
    }
}

fn command_line(pid: u32) -> String {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\0', " ");
    text.trim_end().to_owned()
}

fn shown(id: &str) -> String {
    format!("/{}/{id}", paths::CGROUP_CONTAINERS)
}

/// A file that is no unit.
fn misread(error: &UnitError) -> Option<View> {
    let stem = error.path.file_stem()?.to_string_lossy();
    let name = match error.path.extension()?.to_str()? {
        "container" | "kube" => format!("{stem}.service"),
        "timer" => format!("{stem}.timer"),
        other => format!("{stem}-{other}.service"),
    };
    Some(View {
        description: name.clone(),
        load: Load::Bad(error.to_string().replace('\n', "; ")),
        path: error.path.display().to_string(),
        sub: "dead",
        service: Some(Service::unknown()),
        name,
        ..View::default()
    })
}

fn target(wants: std::collections::BTreeSet<String>) -> View {
    View {
        name: "multi-user.target".into(),
        aliases: vec!["default.target".into()],
        description: "Multi-User System".into(),
        active: Active::Active,
        sub: "active",
        links: Links {
            after: wants.clone(),
            wants,
            ..Links::default()
        },
        ..View::default()
    }
}

fn view(engine: &Engine, entry: &Entry) -> View {
    let container = container_of(engine, &entry.unit);
    let state = container.as_ref().map(|c| c.state());
    let own = *entry.own.borrow();
    let unit = &entry.unit;
    let (active, sub) = stand(entry, own, state.as_ref());
    let us = |ns: u64| ns / 1000;
    let started = state.as_ref().and_then(|s| s.started_ns).map_or(0, us);
    let exit = state.as_ref().and_then(|s| s.exit);
    let ended = exit.map_or(0, |exit| us(exit.at_ns));
    let timer = timer(entry);
    let mut service = service(entry, own, state.as_ref());
    (service.started, service.ended) = (started, ended);
    if let Some(container) = container.filter(|c| c.state().phase.is_up()) {
        service.cgroup = shown(&container.config.id);
    }
    View {
        name: unit.name.clone(),
        description: unit.description.clone(),
        load: if entry.gone {
            Load::NotFound
        } else {
            Load::Loaded
        },
        path: unit.path.display().to_string(),
        active,
        sub,
        stale: entry.gone || written(&unit.path) != entry.written,
        links: Links {
            after: unit.after.clone(),
            before: unit.before.clone(),
            requires: unit.requires.clone(),
            wants: unit.wants.clone(),
            binds_to: unit.binds_to.clone(),
            part_of: unit.part_of.clone(),
            conflicts: unit.conflicts.clone(),
            triggers: timer.iter().map(|t| t.unit.clone()).collect(),
        },
        changed: started.max(ended),
        active_enter: started,
        active_exit: ended,
        inactive_enter: ended,
        inactive_exit: started,
        service: timer.is_none().then_some(service),
        timer,
        ..View::default()
    }
}

fn stand(entry: &Entry, own: Own, state: Option<&State>) -> (Active, &'static str) {
    let is_container = matches!(entry.unit.kind, Kind::Container(_));
    match entry.state(state) {
        // As systemd: what was never tried has not failed.
        UnitState::Failed if own == Own::Failed(Cause::Requirement) => (Active::Inactive, "dead"),
        UnitState::Failed => (Active::Failed, "failed"),
        UnitState::Inactive => (Active::Inactive, "dead"),
        UnitState::Deactivating => (Active::Deactivating, "stop-sigterm"),
        UnitState::Active if matches!(entry.unit.kind, Kind::Timer(_)) => {
            (Active::Active, "waiting")
        }
        UnitState::Active if is_container && state.is_some_and(|s| s.phase.is_up()) => {
            (Active::Active, "running")
        }
        UnitState::Active => (Active::Active, "exited"),
        UnitState::Activating if state.is_some_and(|s| s.phase == Phase::Restarting) => {
            (Active::Activating, "auto-restart")
        }
        UnitState::Activating => (Active::Activating, "start"),
    }
}

fn timer(entry: &Entry) -> Option<Timer> {
    let Kind::Timer(timer) = &entry.unit.kind else {
        return None;
    };
    let us = |at: Option<i64>| {
        at.and_then(|at| u64::try_from(at).ok())
            .map_or(0, |at| at * 1_000_000)
    };
    let times = *lock(&entry.times);
    Some(Timer {
        unit: timer.unit.clone(),
        next: us(times.next),
        last: us(times.last),
        persistent: timer.persistent,
    })
}

fn service(entry: &Entry, own: Own, state: Option<&State>) -> Service {
    let mut service = Service::unknown();
    if entry.unit.oneshot {
        service.kind = "oneshot";
    }
    if let Kind::Container(options) = &entry.unit.kind {
        service.restart = match options.restart {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure { .. } => "on-failure",
            RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
        };
    }
    let failed = entry.state(state) == UnitState::Failed;
    if let Some(state) = state {
        service.restarts = state.restarts;
        service.pid = state.process.map_or(0, |p| p.pid);
        service.last_pid = state.process.map_or(state.last_pid, |p| p.pid);
        let refused = state.error.is_some().then_some(state.error_code);
        let exit = refused.or(state.exit.map(|exit| exit.code));
        service.exit = exit.filter(|_| !state.phase.is_up());
    }
    service.status = entry.problems.last().cloned().unwrap_or_default();
    service.result = match own {
        _ if !failed => "success",
        Own::Failed(Cause::Time) => "timeout",
        _ if state.is_some_and(|s| s.late) => "timeout",
        _ if state.and_then(|s| s.exit).is_some_and(|e| e.oom) => "oom-kill",
        _ => "exit-code",
    };
    service
}
