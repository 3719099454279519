//! The supervisor's effects: starting, signalling, killing, telling; and the mail of services.
//!
//! Nothing is decided here but whom a datagram is from.

use super::Host;
use crate::clock::Moment;
use crate::power::plan;
use crate::service::cgroup;
use crate::service::launch::{self, Place};
use crate::service::log::Log;
use crate::service::mailbox::Letter;
use crate::service::store::Store;
use crate::service::supervisor::{Effect, Event, Note};
use formats::notify::{self, MAX_DATAGRAM, Notice};
use formats::status::{LastExit, ServiceState, ServiceStatus};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use sys::reap::Ended;

/// Datagrams that are read in one turn: a flood of them must not keep PID 1 from its other work.
const MOST_LETTERS: usize = 64;
/// No `STATUS=` is kept longer, in bytes.
const LONGEST_STATUS: usize = 512;

/// What belongs to a service beside its state.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) log: Option<Log>,
    store: Store,
    text: String,
    group: Option<u32>,
    failing: bool,
    /// Tells when it is refused a process.
    refusals: Option<fs::File>,
    /// Processes that were killed for want of memory, as counted so far.
    out_of_memory: u64,
    /// Why it is ended by us or by the kernel, for people.
    reason: &'static str,
}

impl Run {
    pub(super) fn open(logs: &Path, name: &str) -> Self {
        let log = Log::open(logs, name).ok();
        Self {
            log,
            store: Store::default(),
            text: String::new(),
            group: None,
            failing: false,
            refusals: None,
            out_of_memory: 0,
            reason: "",
        }
    }
}

impl Host {
    /// Feeds the supervisor until it has nothing more to say.
    pub(super) fn work(&mut self, now: Moment) {
        while let Some(event) = self.queue.pop_front() {
            let mut effects = std::mem::take(&mut self.effects);
            self.supervisor.step(event, now, &mut effects);
            let changes = !matches!(event, Event::Tick | Event::Alive(_));
            if changes || !effects.is_empty() {
                self.report.touch();
            }
            for effect in effects.drain(..) {
                self.apply(effect, now);
            }
            self.effects = effects;
        }
    }

    fn apply(&mut self, effect: Effect, now: Moment) {
        match effect {
            Effect::Spawn(index) => self.spawn(index),
            Effect::Terminate(index) => self.signal(index, Signal::SIGTERM),
            Effect::Abort(index) => self.signal(index, Signal::SIGABRT),
            Effect::KillGroup(index) => self.kill_group(index),
            Effect::Started(index) => {
                let stage = format!("service:{}", self.supervisor.service(index).name);
                self.report.stage(&stage, now);
            }
            Effect::Note(index, note) => self.tell(index, note),
            Effect::AllStopped => self.shut_down(plan::Event::ServicesStopped, now),
        }
    }

    fn spawn(&mut self, index: usize) {
        self.runs[index].reason = "";
        self.report
            .restore(&limited(&self.supervisor.service(index).name));
        if let Some(problem) = launch::unmet(self.supervisor.service(index)) {
            self.runs[index].text = problem;
            self.queue.push_back(Event::Skipped(index));
            return;
        }
        match self.start(index) {
            Ok(pid) => {
                self.runs[index].group = Some(pid);
                self.queue.push_back(Event::Spawned(index, pid));
            }
            Err(problem) => {
                let name = &self.supervisor.service(index).name;
                self.report.say(&format!("{name}: {problem}"));
                self.runs[index].text = problem;
                self.queue.push_back(Event::SpawnFailed(index));
            }
        }
    }

    fn start(&mut self, index: usize) -> Result<u32, String> {
        let service = self.supervisor.service(index);
        let run = &mut self.runs[index];
        run.text.clear();
        let mut cgroup = None;
        if let Some(cgroups) = &self.cgroups {
            let (folder, failed) = cgroups.enter(service).map_err(|e| format!("cgroup: {e}"))?;
            cgroup = Some(folder);
            if !failed.is_empty() {
                self.report
                    .degrade(&format!("limits:{}", service.name), &failed.join("; "));
            }
        }
        if let Some(cgroups) = &self.cgroups {
            // The old one leaves epoll with its descriptor.
            run.refusals = cgroups.refusals(&service.name).ok();
            run.out_of_memory = cgroups.out_of_memory(&service.name);
        }
        if let Some(file) = &self.runs[index].refusals {
            self.watch_tasks(index, file);
        }
        let run = &self.runs[index];
        let place = Place {
            null: self.null.as_fd(),
            output: run.log.as_ref().map_or(self.null.as_fd(), Log::writer),
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            notify: &self.places.notify,
        };
        launch::start(service, place, &run.store).map(|launched| launched.pid)
    }

    fn signal(&self, index: usize, signal: Signal) {
        if let Some(pid) = self.supervisor.units()[index].pid() {
            let _ = kill(as_pid(pid), signal);
        }
    }

    fn kill_group(&mut self, index: usize) {
        let name = &self.supervisor.service(index).name;
        let group = self.runs[index].group;
        match (&self.cgroups, group) {
            (Some(cgroups), _) => {
                if let Err(e) = cgroups.kill(name) {
                    self.report.say(&format!("{name}: kill its cgroup: {e}"));
                    self.signal(index, Signal::SIGKILL);
                }
            }
            // Each service is the leader of its own session, hence of a process group.
            (None, Some(group)) => {
                let _ = killpg(as_pid(group), Signal::SIGKILL);
            }
            (None, None) => {}
        }
    }

    pub(super) fn service_ended(&mut self, index: usize, ended: Ended) {
        let exit = match ended {
            Ended::Exited(code) => LastExit::Exited(code),
            Ended::Signaled(signal) => LastExit::Signaled(signal),
        };
        if let Some(cgroups) = &self.cgroups {
            let count = cgroups.out_of_memory(&self.supervisor.service(index).name);
            let run = &mut self.runs[index];
            if count > run.out_of_memory {
                run.reason = "out of memory";
            }
        }
        // What it wrote last comes before what is said about its end.
        self.drain_log(index);
        self.queue.push_back(Event::Exited(index, exit));
    }

    pub(super) fn drain_log(&mut self, index: usize) {
        let name = &self.supervisor.service(index).name;
        let report = &self.report;
        if let Some(log) = self.runs.get_mut(index).and_then(|run| run.log.as_mut()) {
            log.drain(|priority, line| report.heard(name, priority, line));
        }
    }

    /// It goes on with what it has: to refuse more is what the limit is for.
    pub(super) fn at_its_limit(&mut self, index: usize) {
        let service = self.supervisor.service(index);
        let limit = service.tasks_max.map_or(String::new(), |n| format!("={n}"));
        let text = format!("was refused a process by TasksMax{limit}");
        self.report.degrade(&limited(&service.name), &text);
    }

    fn ended(&self, index: usize) -> String {
        let ended = match self.supervisor.units()[index].last_exit() {
            Some(LastExit::Exited(code)) => format!("exited with {code}"),
            Some(LastExit::Signaled(signal)) => format!("killed by signal {signal}"),
            None => "did not start".to_owned(),
        };
        match self.runs[index].reason {
            "" => ended,
            reason => format!("{ended}, {reason}"),
        }
    }

    fn tell(&mut self, index: usize, note: Note) {
        let reason = match note {
            Note::StartTimeout => "not ready in time",
            // What it was asked to stop for says more.
            Note::StopTimeout if self.runs[index].reason.is_empty() => "did not stop in time",
            Note::WatchdogTimeout => "did not feed its watchdog",
            _ => self.runs[index].reason,
        };
        self.runs[index].reason = reason;
        let ended = self.ended(index);
        let service = self.supervisor.service(index);
        let text = match note {
            Note::Restarting(pause) => format!("{ended}, starts again in {} ms", pause.as_millis()),
            Note::Failed => format!("{ended}, stays down"),
            Note::StartTimeout => "not ready in time: killed".to_owned(),
            Note::StopTimeout => "did not stop in time: killed".to_owned(),
            Note::WatchdogTimeout => "does not feed its watchdog: aborted".to_owned(),
            Note::Unkillable => "outlives SIGKILL: left behind".to_owned(),
            Note::RequirementFailed(other) => {
                format!(
                    "not started, since {} has failed",
                    self.supervisor.service(other).name
                )
            }
        };
        self.report.say(&format!("{}: {text}", service.name));
    }

    /// A service that is down when it should be up is a degraded state, until it has proven itself.
    pub(super) fn judge(&mut self) {
        for index in 0..self.runs.len() {
            let unit = &self.supervisor.units()[index];
            let failing = unit.is_failing();
            if failing == self.runs[index].failing {
                continue;
            }
            self.runs[index].failing = failing;
            let name = format!("service-failing:{}", self.supervisor.service(index).name);
            let down = unit.state() == ServiceState::Failed;
            if !failing {
                self.report.restore(&name);
            } else if down {
                let text = format!("is down and stays down: {}", self.ended(index));
                self.report.degrade(&name, &text);
            } else {
                let text = format!("ends again and again: {}", self.ended(index));
                self.report.degrade(&name, &text);
            }
        }
    }

    pub(super) fn read_mail(&mut self, now: Moment) {
        let mut buffer = [0u8; MAX_DATAGRAM];
        for _ in 0..MOST_LETTERS {
            let Some(letter) = self.mailbox.next(&mut buffer) else {
                return;
            };
            if let Some(index) = self.sender(letter.pid) {
                let length = letter.length;
                self.take_notice(index, notify::parse(&buffer[..length]), letter);
                self.work(now);
            }
        }
    }

    /// The service whose main process this is, or in whose cgroup it runs.
    fn sender(&self, pid: u32) -> Option<usize> {
        self.supervisor.by_pid(pid).or_else(|| {
            let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            self.supervisor.by_name(cgroup::service_of(&text)?)
        })
    }

    fn take_notice(&mut self, index: usize, notice: Notice<'_>, letter: Letter) {
        if let Some(text) = notice.status {
            let text = text.get(..LONGEST_STATUS).unwrap_or(text);
            if self.runs[index].text != text {
                let before = std::mem::replace(&mut self.runs[index].text, text.to_owned());
                self.judge_status(index, &before, text);
                self.report.touch();
            }
        }
        if notice.remove || notice.store {
            self.report.touch();
        }
        if notice.remove
            && let Some(name) = notice.fd_name
        {
            self.runs[index].store.remove(name);
        }
        if notice.store {
            let max = self.supervisor.service(index).fd_store_max;
            let refused = self.runs[index]
                .store
                .put(notice.fd_name, letter.fds.into_iter(), max);
            if refused > 0 {
                let name = &self.supervisor.service(index).name;
                let text =
                    format!("{name}: {refused} descriptors beyond FileDescriptorStoreMax={max}");
                self.report.say(&text);
            }
        }
        let said = [
            notice.extend.map(|time| Event::Extend(index, time)),
            notice
                .watchdog_period
                .map(|period| Event::WatchdogPeriod(index, period)),
            notice.ready.then_some(Event::Ready(index)),
            notice.alive.then_some(Event::Alive(index)),
            notice.trigger.then_some(Event::Trigger(index)),
            notice.stopping.then_some(Event::Stopping(index)),
        ];
        self.queue.extend(said.into_iter().flatten());
        // With BARRIER=1 the descriptor closes here, after all that came before it.
    }

    /// What a service calls a degraded state of the host becomes one, until it says otherwise.
    fn judge_status(&mut self, index: usize, before: &str, text: &str) {
        let named = |text: &str| {
            let (name, text) = text.strip_prefix(notify::DEGRADED)?.split_once(": ")?;
            let service = &self.supervisor.service(index).name;
            Some((format!("{service}-{name}"), text.to_owned()))
        };
        let (before, now) = (named(before), named(text));
        if let Some((name, _)) = before {
            self.report.restore(&name);
        }
        if let Some((name, text)) = now {
            self.report.degrade(&name, &text);
        }
    }

    pub(super) fn service_statuses(&self) -> Vec<ServiceStatus> {
        let status = |(index, unit): (usize, &crate::service::supervisor::Unit)| ServiceStatus {
            name: self.supervisor.service(index).name.clone(),
            state: unit.state(),
            pid: unit.pid(),
            restarts: unit.restarts(),
            last_exit: unit.last_exit(),
            text: self.runs[index].text.clone(),
            stored_fds: u32::try_from(self.runs[index].store.count()).unwrap_or(u32::MAX),
        };
        self.supervisor
            .units()
            .iter()
            .enumerate()
            .map(status)
            .collect()
    }
}

fn limited(service: &str) -> String {
    format!("service-limited:{service}")
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}
