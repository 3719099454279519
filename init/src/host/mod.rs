//! The running host: one epoll, one turn after the other, for ever.
//!
//! It waits for nothing else, has no thread, and keeps on whatever a turn brings. Deciders are
//! elsewhere (`service::supervisor`, `slots`, `power::plan`); here their effects happen.

mod ending;
mod services;
mod wiring;

use crate::boot::{Booted, uevent::Uevents};
use crate::clock::{Moment, now};
use crate::floor::Floor;
use crate::journal::Journal;
use crate::power::button::Buttons;
use crate::power::plan::{self, Plan};
use crate::report::{Report, publish_status};
use crate::room::Room;
use crate::service::backoff::Random;
use crate::service::cgroup::Cgroups;
use crate::service::launch;
use crate::service::mailbox::Mailbox;
use crate::service::order;
use crate::service::supervisor::{Effect, Event, Supervisor};
use crate::slots::desk::{Desk, Door, Wants, Wish};
use crate::slots::table::Table;
use crate::trial::{Trial, Verdict};
use crate::watchdog::Watchdog;
use formats::registration::{Exit, ExitKind, Power, StampKind};
use formats::{accounts, paths, status};
use nix::sys::signalfd::SignalFd;
use rustix::event::{Timespec, epoll};
use services::Run;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;
use sys::reap::{Ended, Reaped};
use wiring::Token;

/// Children that are reaped in one turn: orphans without end must not keep PID 1 from its other work.
const MOST_REAPED: usize = 256;

/// Where the host's sockets and files are; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// See [`paths::INIT_SOCKET`].
    pub control: PathBuf,
    /// See [`paths::NOTIFY_SOCKET`].
    pub notify: PathBuf,
    /// See [`paths::STATUS`].
    pub status: PathBuf,
    /// See [`paths::SERVICE_LOGS`].
    pub logs: PathBuf,
    /// Input devices, as sysfs lists them.
    pub inputs: PathBuf,
    /// See [`paths::STATE`]: unmounted at the end.
    pub state: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            control: paths::INIT_SOCKET.into(),
            notify: paths::NOTIFY_SOCKET.into(),
            status: paths::STATUS.into(),
            logs: paths::SERVICE_LOGS.into(),
            inputs: "/sys/class/input".into(),
            state: paths::STATE.into(),
        }
    }
}

/// Everything PID 1 holds.
pub struct Host {
    report: Report,
    places: Places,
    epoll: OwnedFd,
    signals: SignalFd,
    mailbox: Mailbox,
    desk: Desk,
    table: Table<OwnedFd>,
    uevents: Option<Uevents>,
    buttons: Buttons,
    supervisor: Supervisor,
    runs: Vec<Run>,
    cgroups: Option<Cgroups>,
    null: OwnedFd,
    watchdog: Option<Watchdog>,
    plan: Plan,
    disks: Option<u32>,
    floor: Floor,
    journal: Option<Journal>,
    room: Room,
    trial: Option<Trial>,
    queue: VecDeque<Event>,
    effects: Vec<Effect>,
    settled: bool,
    listening: bool,
    unreaped: bool,
}

impl Host {
    /// Opens the sockets and takes over what the boot has left.
    ///
    /// # Errors
    /// When the kernel refuses one of the few things without which nothing can run.
    pub fn open(booted: Booted, places: Places, seed: u64) -> io::Result<Self> {
        wiring::prepare_process()?;
        let mut report = booted.report;
        let order = order::resolve(&booted.services);
        for (index, text) in &order.problems {
            let name = &booted.services[*index].name;
            report.degrade(&format!("service-order:{name}"), text);
        }
        let runs = booted
            .services
            .iter()
            .map(|s| Run::open(&places.logs, &s.name))
            .collect();
        for service in &booted.services {
            // Its own start says what is wrong with it.
            let _ = launch::folders(service);
        }
        let services = booted.services.len();
        let mut host = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            signals: wiring::signals()?,
            mailbox: Mailbox::bind(&places.notify)?,
            desk: Desk::bind(
                &places.control,
                launch::user(accounts::ENGINE),
                launch::user(accounts::UPDATER),
            )?,
            null: wiring::open_null()?,
            report,
            places,
            table: Table::default(),
            uevents: booted.uevents,
            buttons: Buttons::default(),
            supervisor: Supervisor::new(booted.services, order, Random::new(seed)),
            runs,
            cgroups: booted.cgroups,
            watchdog: booted.watchdog,
            plan: Plan::default(),
            disks: None,
            floor: booted.floor,
            journal: booted.journal,
            room: booted.room,
            trial: booted.trial,
            queue: VecDeque::with_capacity(8 * services + 64),
            effects: Vec::with_capacity(8 * services + 16),
            settled: false,
            listening: true,
            unreaped: false,
        };
        host.wire()?;
        host.look_for_buttons();
        Ok(host)
    }

    /// Runs for ever. An error of one turn is shown, and the next turn follows after a pause.
    pub fn run(self) -> ! {
        self.run_watched(|| {})
    }

    /// The same for those who want to look after each turn: tests.
    pub fn run_watched(mut self, mut look: impl FnMut()) -> ! {
        self.queue.push_back(Event::Start);
        self.work(now());
        self.publish();
        loop {
            if let Err(e) = self.turn() {
                self.report
                    .degrade("init-loop", &format!("event loop: {e}"));
                std::thread::sleep(Duration::from_millis(100));
            }
            look();
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 32];
        let timeout = match self.unreaped {
            true => Some(Duration::ZERO),
            false => self.next_deadline().map(|at| at.saturating_sub(now())),
        };
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let count = match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(e.into()),
        };
        let now = now();
        // Mail first: a service that says READY=1 and exits at once was ready.
        self.read_mail(now);
        if self.unreaped {
            self.reap(now);
        }
        for event in &events[..count] {
            self.take(Token::from_u64(event.data.u64()), now);
        }
        self.queue.push_back(Event::Tick);
        self.work(now);
        self.judge_trial(now);
        self.shut_down(plan::Event::Tick, now);
        self.work(now);
        if !self.listening {
            self.listen(self.desk.has_room());
        }
        self.room.tick(now, &mut self.report);
        self.publish();
        // Only a turn that has come to its end feeds: a hang anywhere above starves it.
        if let Some(watchdog) = self.hungry().filter(|w| now >= w.due()) {
            watchdog.feed(now);
        }
        self.floor.tick(now);
        self.keep_lines(now);
        Ok(())
    }

    /// The watchdog, until the machine should be off: it resets one whose reboot was refused.
    fn hungry(&mut self) -> Option<&mut Watchdog> {
        self.watchdog.as_mut().filter(|_| !self.plan.is_over())
    }

    fn next_deadline(&mut self) -> Option<Moment> {
        let watchdog = self.hungry().map(|watchdog| watchdog.due());
        let trial = self.trial.as_ref().map(Trial::deadline);
        let all = [
            trial,
            self.supervisor.next_deadline(),
            self.plan.next_deadline(),
            watchdog,
            self.journal_due(),
        ];
        all.into_iter().flatten().min()
    }

    fn judge_trial(&mut self, now: Moment) {
        let Some(verdict) = self.trial.as_ref().and_then(|trial| trial.verdict(now)) else {
            return;
        };
        self.trial = None;
        self.report.batch().hurry(false);
        if verdict == Verdict::Unjudged {
            self.report
                .say("trial: nobody found this boot good in time; rebooting");
            self.shut_down(plan::Event::Request(Power::Reboot), now);
        }
    }

    fn take(&mut self, token: Option<Token>, now: Moment) {
        match token {
            Some(Token::Signals) => self.take_signals(now),
            Some(Token::Control) => self.let_in(),
            Some(Token::Client(client)) => self.serve(client, now),
            Some(Token::Devices) => {
                if self
                    .uevents
                    .as_ref()
                    .is_some_and(|uevents| uevents.drain("input"))
                {
                    self.look_for_buttons();
                }
            }
            Some(Token::Button(button)) => self.button(button, now),
            Some(Token::Kernel) => self.report.batch().kernel_spoke(now),
            Some(Token::Log(service)) => self.drain_log(service),
            Some(Token::Tasks(service)) => self.at_its_limit(service),
            // The mailbox was read before anything else.
            Some(Token::Mail) | None => {}
        }
    }

    fn let_in(&mut self) {
        while let Some(client) = self.desk.accept() {
            self.watch_client(client, Wants::Read, true);
        }
        self.listen(self.desk.has_room());
    }

    fn serve(&mut self, client: usize, now: Moment) {
        let door = match (self.plan.goal(), &self.cgroups) {
            (Some(_), _) => Door::Closed,
            (None, Some(_)) => Door::Cgroups,
            (None, None) => Door::Open,
        };
        let (wants, wish) = self.desk.serve(client, &mut self.table, door);
        self.watch_client(client, wants, false);
        self.report.touch();
        match wish {
            Some(Wish::Stamp(kind, name)) => {
                let stage = format!("{}:{name}", kind.as_str());
                let first = kind == StampKind::Container && !self.report.has_stage("container:");
                self.report.stage(&stage, now);
                if first {
                    self.report.summary();
                }
            }
            Some(Wish::Power(power)) => self.shut_down(plan::Event::Request(power), now),
            None => {}
        }
    }

    /// Reaps what has ended, the rest in the next turn. Allocates nothing for a container.
    fn reap(&mut self, now: Moment) {
        self.unreaped = false;
        for _ in 0..MOST_REAPED {
            match sys::reap::reap() {
                Ok(Reaped::Child(pid, ended)) => self.gone(pid, ended, now),
                Ok(Reaped::Childless) if self.plan.awaits_childless() => {
                    return self.shut_down(plan::Event::Childless, now);
                }
                Ok(Reaped::None | Reaped::Childless) | Err(_) => return,
            }
        }
        self.unreaped = true;
    }

    fn gone(&mut self, pid: u32, ended: Ended, now: Moment) {
        let kind = match ended {
            Ended::Exited(code) => ExitKind::Exited(code),
            Ended::Signaled(signal) => ExitKind::Signaled(signal),
        };
        let at_ns = crate::clock::epoch_ns();
        if let Some(slot) = self.table.exited(pid, Exit { kind, at_ns }) {
            self.desk.exited(slot);
            self.flush_clients();
        } else if let Some(service) = self.supervisor.by_pid(pid) {
            self.service_ended(service, ended);
        } else if self.disks == Some(pid) {
            self.disks_released(ended, now);
        } else if !self.floor.ended(pid)
            && let Some(journal) = &mut self.journal
        {
            journal.ended(pid, ended, &mut self.report);
        }
    }

    /// None at the end of the host, which writes the last lines with the disks.
    fn journal_due(&self) -> Option<Moment> {
        let journal = self.journal.as_ref()?;
        let writes = self.disks.is_none() && !self.plan.is_over() && !journal.is_writing();
        writes.then(|| self.report.batch().due()).flatten()
    }

    fn keep_lines(&mut self, now: Moment) {
        if self.journal_due().is_some_and(|due| now >= due)
            && let Some(journal) = &mut self.journal
        {
            journal.start(&self.report, now);
        }
    }

    fn flush_clients(&mut self) {
        for client in 0..crate::slots::desk::MOST_CLIENTS {
            if self.desk.socket(client).is_some() {
                let wants = self.desk.flush(client, &self.table);
                self.watch_client(client, wants, false);
            }
        }
    }

    fn publish(&mut self) {
        if self.plan.goal().is_none() {
            self.judge();
        }
        if !self.settled && self.supervisor.settled() {
            self.settled = true;
            self.report.touch();
        }
        if self.report.take_change() {
            let status = self.status();
            if let Err(e) = publish_status(&self.places.status, &status) {
                self.report
                    .say(&format!("write {}: {e}", self.places.status.display()));
            }
        }
    }

    fn status(&self) -> status::Status {
        status::Status {
            format: status::FORMAT,
            power: self.power_state(),
            services: self.service_statuses(),
            degraded: self.report.degraded().states().to_vec(),
            containers: u32::try_from(self.table.taken()).unwrap_or(u32::MAX),
        }
    }
}
