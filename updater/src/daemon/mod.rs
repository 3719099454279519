//! The daemon: drives the machine, carries its effects out, answers on a socket.
//!
//! One thread decides; fetching and judging, which take long, run beside it and come back as events.

pub mod config;
mod effects;
mod last_words;
mod leave;
pub mod pid_one;
pub mod records;
pub mod releases;
mod repositories;
mod requests;
mod staging;

use crate::esp::device::{self, Partition};
use crate::esp::osrel;
use crate::esp::plan::Wanted;
use crate::esp::slots::Slots;
use crate::esp::volume::Volume;
use crate::firmware::CountedEntries;
use crate::gate::engine;
use crate::machine::{Event, Machine, Now, Seen, resume};
use crate::strategy::{Conditions, Wait};
use config::Config;
use formats::name::Name;
use formats::paths;
use formats::update::{Phase, Progress, Reply, Request};
use formats::version::Version;
use leave::Slot;
use records::Records;
use releases::{Nowhere, Releases};
use repositories::Repositories;
use sha2::Digest;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use requests::told;

/// What the deciding thread is told.
enum Input {
    Event(Event),
    Request(Request, Sender<Reply>),
    Progress(Progress),
    Looked(Result<Option<Wanted>, String>),
    MayLeave(Result<(), Wait>),
    Released(Result<(), String>),
}

/// Everything the daemon holds.
struct Daemon {
    machine: Machine,
    product: Name,
    boot_id: String,
    records: Records,
    releases: Arc<dyn Releases>,
    trial: Duration,
    /// What has to hold before the host goes down, and its lock's slot.
    conditions: Conditions,
    slot: Slot,
    /// Why it does not.
    waits: Option<String>,
    /// The ESP, for one at a time; none where there is none.
    esp: Option<Arc<Mutex<Esp>>>,
    /// What was there when it was looked at last.
    slots: Option<Slots>,
    /// What the last look for a release has found.
    found: Option<Wanted>,
    stop: Arc<AtomicBool>,
    inputs: Sender<Input>,
    /// Who waits for the end of a look, of a staging.
    lookers: Vec<Sender<Reply>>,
    watchers: Vec<Sender<Reply>>,
    problem: Option<String>,
}

/// The ESP, and the way back that must be there before anything is staged.
struct Esp {
    volume: Volume,
    backend: CountedEntries,
}

/// Runs until the host goes down; ends at once where nothing is to be updated and nothing is on trial.
///
/// # Errors
/// A sentence: the host does not say what it is.
pub fn main() -> Result<(), String> {
    let (product, running) = this_release(Path::new(paths::OS_RELEASE))?;
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let (config, mut problem) = match Config::read(Path::new(formats::update::CONFIG)) {
        Ok(config) => (config, None),
        Err(text) => (None, Some(text)),
    };
    let (inputs, receiver) = channel();
    let partition = device::find(&device::Places::default());
    let esp = partition.map_err(|e| e.to_string()).map(esp);
    let slots = esp
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|esp| look(esp, &product, running));
    if let Err(text) = &slots {
        tracing::warn!("{text}");
        problem.get_or_insert_with(|| text.clone());
    }
    let records = Records::default();
    let (memory, torn) = records.recall(boot_id.trim());
    if let Some(text) = torn {
        tracing::warn!("{text}");
        problem.get_or_insert(text);
    }
    let seed = machine_seed();
    let rules = config.as_ref().map_or(OFF, |config| config.rules(seed));
    let slots = slots.ok();
    let seen = slots.as_ref().map(|slots| Seen {
        slots,
        boot_id: boot_id.trim(),
    });
    let (machine, effects) = resume(memory, running, rules, seen, now());
    let mut daemon = Daemon {
        machine,
        product,
        boot_id: boot_id.trim().to_owned(),
        records,
        releases: releases(config.as_ref()),
        trial: Config::trial(config.as_ref()),
        conditions: config.as_ref().map(Config::conditions).unwrap_or_default(),
        slot: Slot::default(),
        waits: None,
        esp: esp.ok().map(|esp| Arc::new(Mutex::new(esp))),
        slots,
        found: None,
        stop: Arc::default(),
        inputs,
        lookers: Vec::new(),
        watchers: Vec::new(),
        problem,
    };
    daemon.carry_out(effects);
    requests::listen(Path::new(paths::UPDATE_SOCKET), daemon.inputs.clone())
        .map_err(|e| format!("listen at {}: {e}", paths::UPDATE_SOCKET))?;
    pid_one::notify("READY=1");
    // A file that is not understood is a problem to be shown, not a wish for no updates.
    let wanted = config.is_some() || Path::new(formats::update::CONFIG).exists();
    daemon.run(&receiver, wanted)
}

/// Of a host that is told nothing.
const OFF: crate::machine::Rules = crate::machine::Rules {
    unattended: false,
    poll: None,
    seed: 0,
};

/// A number of this machine.
fn machine_seed() -> u64 {
    let id = std::fs::read(repositories::MACHINE_ID).unwrap_or_default();
    let hash: [u8; 32] = sha2::Sha256::digest(&id).into();
    hash.iter()
        .take(8)
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn releases(config: Option<&Config>) -> Arc<dyn Releases> {
    match config {
        Some(config) => Arc::new(Repositories::new(config)),
        None => Arc::new(Nowhere),
    }
}

fn esp(partition: Partition) -> Esp {
    let variables = Path::new(crate::firmware::variables::FOLDER);
    Esp {
        backend: CountedEntries::new(variables, &partition),
        volume: Volume {
            device: partition.device,
            target: PathBuf::from(paths::ESP),
        },
    }
}

fn look(esp: &Esp, product: &Name, running: Version) -> Result<Slots, String> {
    let mounted = esp.volume.look().map_err(|e| e.to_string())?;
    mounted.slots(product, running).map_err(|e| e.to_string())
}

/// What this image says it is.
fn this_release(path: &Path) -> Result<(Name, Version), String> {
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| told(&e))?;
    let value = |key| osrel::value(&text, key).unwrap_or_default();
    let product = value("IMAGE_ID").parse().map_err(|e| told(&e))?;
    let version = value("IMAGE_VERSION").parse().map_err(|e| told(&e))?;
    Ok((product, version))
}

/// Both clocks.
fn now() -> Now {
    let epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        boot: engine::now(),
        epoch_ns: u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX),
    }
}

impl Daemon {
    fn run(&mut self, inputs: &Receiver<Input>, wanted: bool) -> Result<(), String> {
        loop {
            if !wanted && self.machine.memory.phase == Phase::Idle {
                tracing::info!("no {}: nothing to do", formats::update::CONFIG);
                return Ok(());
            }
            self.tell_status();
            let now = now();
            self.give_slot_back(now.boot);
            let due = [self.machine.next_deadline(now), self.slot.due()];
            let due = due.into_iter().flatten().min();
            let left = due.map(|at| at.saturating_sub(now.boot));
            let input = match left {
                Some(left) => match inputs.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => Ok(Input::Event(Event::Tick)),
                    other => other.map_err(|e| e.to_string()),
                },
                None => inputs.recv().map_err(|e| e.to_string()),
            };
            match input? {
                Input::Event(event) => self.event(event),
                Input::Request(request, client) => self.request(request, client),
                Input::Looked(found) => self.looked(found),
                Input::MayLeave(answer) => self.may_leave(answer),
                Input::Released(answer) => self.released(answer),
                Input::Progress(progress) => {
                    self.watchers
                        .retain(|w| w.send(Reply::Progress(progress)).is_ok());
                }
            }
        }
    }

    /// Something that nobody asked for happened.
    fn event(&mut self, event: Event) {
        let text = match &event {
            Event::Tick => None,
            other => Some(format!("{other:?}")),
        };
        if let Some(text) = text {
            tracing::info!("{text}");
        }
        if let (Event::Passed(_) | Event::Failed(_), Phase::Returned { version, .. }) =
            (&event, &self.machine.memory.phase)
        {
            // Not before: what a crash left in the firmware is taken over while services start.
            let journal = Path::new(paths::JOURNAL);
            let lines = last_words::of(journal, *version, &self.boot_id);
            let _ = self.machine.step(Event::LastWords(lines), now());
        }
        match self.machine.step(event.clone(), now()) {
            Ok(effects) => self.carry_out(effects),
            Err(text) => tracing::warn!("{text}"),
        }
        // Told once it is on the disk: whoever hears it may cut the power.
        self.answer(&event);
    }

    fn tell_status(&self) {
        let phase = told(&self.machine.memory.phase);
        pid_one::notify(&format!("STATUS={} runs; {phase}", self.machine.running));
    }
}
