//! Health checks at work: one queue of moments for all containers, and a bounded number of checks at once.
//!
//! What a result means is the judge's, what becomes of a container its own task's. Results are in memory
//! only: a later engine goes on from the judgement in the container's state.

pub mod check;
mod judge;
mod probe;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::container::{Container, lock};
use super::machine::Event;
use super::record::{Phase, Process, State};
use super::{Engine, clock};
use judge::{Follows, Judge};
pub use probe::Outcome;

/// Checks that run at once: those that hang take their container's own time, not the others'.
const AT_ONCE: usize = 32;

/// All containers' checks.
#[derive(Debug)]
pub struct Checks {
    all: Mutex<All>,
    bell: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct All {
    /// By the containers' ids.
    probes: BTreeMap<String, Probe>,
    queue: BTreeSet<(Duration, String)>,
}

#[derive(Debug)]
struct Probe {
    process: Process,
    judge: Judge,
    /// The newest last.
    log: VecDeque<Outcome>,
    /// It is checked, or in the queue.
    is_on: bool,
}

/// What is shown of a container's checks.
#[derive(Debug, Default)]
pub struct Shown {
    /// Failures in a row.
    pub streak: u32,
    /// The newest last.
    pub log: Vec<Outcome>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            bell: Notify::new(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Checks {
    /// Takes in where a container stands.
    pub fn follow(&self, engine: &Engine, container: &Container, state: &State) {
        let config = &container.config;
        let Some(check) = &config.health else {
            return;
        };
        let process = state.process.filter(|_| state.phase == Phase::Running);
        let mut all = lock(&self.all);
        let All { probes, queue } = &mut *all;
        let known = probes.get_mut(&config.id);
        let Some(process) = process else {
            if let Some(probe) = known {
                probe.is_on = false;
                queue.retain(|(_, id)| *id != config.id);
            }
            return;
        };
        if known.is_some_and(|probe| probe.process == process) {
            return;
        }
        // What an engine before this one had begun.
        probe::kill(engine, &config.id);
        let began = state.started_ns.unwrap_or_else(clock::wall_ns);
        let age = Duration::from_nanos(clock::wall_ns().saturating_sub(began));
        let judge = Judge::new(check.clone(), state.health, age, clock::steady());
        queue.retain(|(_, id)| *id != config.id);
        queue.extend(judge.due().map(|due| (due, config.id.clone())));
        let probe = Probe {
            process,
            judge,
            log: VecDeque::new(),
            is_on: true,
        };
        probes.insert(config.id.clone(), probe);
        self.bell.notify_one();
    }

    /// Forgets a container.
    pub fn forget(&self, id: &str) {
        let mut all = lock(&self.all);
        all.probes.remove(id);
        all.queue.retain(|(_, known)| known != id);
    }

    /// What is shown of a container.
    pub fn shown(&self, id: &str) -> Shown {
        let all = lock(&self.all);
        let probe = all.probes.get(id);
        probe.map_or_else(Shown::default, |probe| Shown {
            streak: probe.judge.streak(),
            log: probe.log.iter().cloned().collect(),
        })
    }

    /// The next moment, or who is due now.
    fn next(&self) -> Result<String, Option<Duration>> {
        let mut all = lock(&self.all);
        let first = all.queue.first().map(|(due, _)| *due);
        match first {
            Some(due) if due <= clock::steady() => {
                let due = all.queue.pop_first();
                due.map(|(_, id)| id).ok_or(None)
            }
            later => Err(later),
        }
    }

    fn begin(&self, id: &str) -> Option<(Process, check::Run, usize)> {
        let all = lock(&self.all);
        let probe = all.probes.get(id).filter(|probe| probe.is_on)?;
        let bytes = probe.judge.check().kept_bytes();
        Some((probe.process, probe.judge.run(), bytes))
    }

    /// Takes a result of a run that still goes on; none when it could not be checked now.
    fn end(&self, id: &str, process: Process, outcome: Option<Outcome>) -> Follows {
        let now = clock::steady();
        let mut all = lock(&self.all);
        let All { probes, queue } = &mut *all;
        let of_run = |probe: &&mut Probe| probe.process == process && probe.is_on;
        let Some(probe) = probes.get_mut(id).filter(of_run) else {
            return Follows::Nothing;
        };
        let follows = match outcome {
            None => {
                probe.judge.passed_over(now);
                Follows::Nothing
            }
            Some(outcome) => {
                let follows = probe.judge.ended(outcome.code == 0, now);
                probe.log.push_back(outcome);
                let over = probe.log.len().saturating_sub(probe.judge.check().kept());
                probe.log.drain(..over);
                follows
            }
        };
        queue.extend(probe.judge.due().map(|due| (due, id.to_owned())));
        self.bell.notify_one();
        follows
    }
}

/// Checks whoever is due, for as long as the engine runs.
pub async fn serve(engine: Arc<Engine>) {
    loop {
        let id = match engine.checks.next() {
            Ok(id) => id,
            Err(later) => {
                let wait = async {
                    match later {
                        Some(at) => tokio::time::sleep_until(clock::instant(at)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wait => {}
                    () = engine.checks.bell.notified() => {}
                }
                continue;
            }
        };
        let Ok(room) = engine.checks.room.clone().acquire_owned().await else {
            return;
        };
        let engine = engine.clone();
        tokio::spawn(async move {
            check_one(&engine, &id).await;
            drop(room);
        });
    }
}

async fn check_one(engine: &Engine, id: &str) {
    let container = lock(&engine.containers).get(id).cloned();
    let begun = engine.checks.begin(id);
    let Some((container, (process, run, bytes))) = container.zip(begun) else {
        return;
    };
    let outcome = probe::run(engine, &container, &run, bytes).await;
    let event = match engine.checks.end(id, process, outcome) {
        Follows::Nothing => return,
        Follows::Judged(health) => Event::Judged { process, health },
        Follows::GivenUp => Event::Unfit { process },
    };
    // Removed in the meantime: nobody is left to be told.
    let _ = container.tell(event).await;
}
