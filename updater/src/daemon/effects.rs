//! Effects, carried out. What takes long is begun beside; what fails is told, and comes back as an
//! event where the machine waits for one.
//!
//! It decides one thing: a host that goes back does so even when its ESP or STATE cannot be written.

use super::staging::{self, Staging};
use super::{Daemon, Input, now, pid_one};
use crate::esp::plan::{self, Refusal, Step, Wanted};
use crate::esp::slots::Slots;
use crate::firmware::variables::{self, LOADER};
use crate::gate::Verdict;
use crate::gate::engine;
use crate::gate::probes::Places;
use crate::machine::{Effect, Event};
use formats::paths;
use formats::release::{BootOk, Denied, Reason};
use formats::version::Version;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long the engine may take to tell which units are healthy.
const TELL: Duration = Duration::from_secs(10);

/// Before the counter is tried to be taken again.
const AGAIN: Duration = Duration::from_secs(30);

impl Daemon {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut left: VecDeque<Effect> = effects.into();
        while let Some(effect) = left.pop_front() {
            if !matches!(effect, Effect::Remember) {
                tracing::info!("{effect:?}");
            }
            if let Err(text) = self.one(effect.clone()) {
                tracing::error!("{effect:?}: {text}");
                self.problem = Some(text.clone());
                let hinders = matches!(effect, Effect::Remember | Effect::Reboot);
                if hinders && self.machine.may_be_hindered() {
                    left.clear();
                    return self.event(Event::Hindered(text));
                }
                self.instead(&effect, &text);
            }
        }
    }

    fn one(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Remember => {
                let memory = &self.machine.memory;
                self.records.remember(memory).map_err(|e| e.to_string())
            }
            Effect::Check => {
                self.check();
                Ok(())
            }
            Effect::Stage(version) => self.stage(version),
            Effect::StopStaging => {
                self.stop.store(true, Ordering::Relaxed);
                Ok(())
            }
            Effect::Discard(version) => self.on_esp(|slots| Ok(discard(slots, version))),
            Effect::AskHealth => {
                self.beside(|| {
                    let names = engine::all_healthy(health(), &Places::default(), TELL);
                    Event::Healthy(Some(names))
                });
                Ok(())
            }
            Effect::AskLeave => {
                self.ask_leave();
                Ok(())
            }
            Effect::Judge(expected) => {
                let patience = self.trial;
                self.beside(move || {
                    match engine::judge(health(), &Places::default(), &expected, patience) {
                        Verdict::Passed(units) => Event::Passed(units),
                        Verdict::Failed(text) => Event::Failed(text),
                    }
                });
                Ok(())
            }
            Effect::BootOk(healthy) => self.boot_ok(healthy),
            Effect::Bless => self.on_esp(|slots| Ok(plan::bless(slots))),
            Effect::PutBehind(version) => match self.on_esp(|slots| plan::deny(slots, version)) {
                Err(text)
                    if self
                        .slots
                        .as_ref()
                        .is_some_and(|s| s.find(version).is_some()) =>
                {
                    Err(text)
                }
                _ => Ok(()),
            },
            Effect::Prefer(version) => self.on_esp(|slots| plan::prefer(slots, version)),
            Effect::Deny(version, reason, detail) => self.deny(version, reason, detail),
            Effect::Allow(version) => self.records.allow(version).map_err(|e| e.to_string()),
            Effect::Reboot => {
                pid_one::notify("STATUS=rebooting");
                pid_one::reboot(Path::new(paths::INIT_SOCKET)).map_err(|e| format!("reboot: {e}"))
            }
        }
    }

    /// What follows from an effect that failed.
    fn instead(&mut self, effect: &Effect, text: &str) {
        match effect {
            Effect::Stage(_) => self.event(Event::StageFailed(text.to_owned())),
            // Each boot would take a try from a release that is good.
            Effect::Bless => self.beside(|| {
                std::thread::sleep(AGAIN);
                Event::BlessAgain
            }),
            // The name could not be changed: the loader is told for one boot, by variable.
            Effect::PutBehind(_) => {
                let good = self.slots.as_ref().and_then(Slots::last_good);
                let Some(good) = good else { return };
                let value = good.file.encode_utf16().chain([0]);
                let value: Vec<u8> = value.flat_map(u16::to_le_bytes).collect();
                let name = format!("LoaderEntryOneShot-{LOADER}");
                let written = variables::write(Path::new(variables::FOLDER), &name, &value);
                if let Err(e) = written {
                    tracing::error!("{name}: {e}");
                }
            }
            _ => {}
        }
    }

    /// Runs something that takes long on a thread of its own.
    fn beside(&self, work: impl FnOnce() -> Event + Send + 'static) {
        let inputs = self.inputs.clone();
        let begun = std::thread::Builder::new().spawn(move || {
            let _ = inputs.send(Input::Event(work()));
        });
        if let Err(e) = begun {
            tracing::error!("start a thread: {e}");
        }
    }

    fn check(&self) {
        let (releases, records) = (self.releases.clone(), self.records.clone());
        let (running, inputs) = (self.machine.running, self.inputs.clone());
        let begun = std::thread::Builder::new().spawn(move || {
            let found = releases.look(running, &|version| records.why_denied(version));
            let _ = inputs.send(Input::Looked(found));
        });
        if let Err(e) = begun {
            let _ = self
                .inputs
                .send(Input::Looked(Err(format!("start a thread: {e}"))));
        }
    }

    pub(super) fn looked(&mut self, found: Result<Option<Wanted>, String>) {
        match found {
            Ok(found) => {
                let version = found.as_ref().map(|wanted| wanted.version);
                self.found = found;
                self.event(Event::Offered(version));
            }
            Err(text) => {
                if self.problem.as_ref() != Some(&text) {
                    tracing::warn!("look for a release: {text}");
                }
                self.problem = Some(text);
                self.event(Event::CheckFailed);
            }
        }
    }

    fn stage(&mut self, version: Version) -> Result<(), String> {
        let found = self
            .found
            .clone()
            .filter(|wanted| wanted.version == version);
        let wanted = found.ok_or("it has to be looked for again")?;
        self.stop = Arc::new(AtomicBool::new(false));
        let staging = Staging {
            esp: self.esp.clone().ok_or("no ESP")?,
            releases: self.releases.clone(),
            product: self.product.clone(),
            running: self.machine.running,
            wanted,
            stop: self.stop.clone(),
            inputs: self.inputs.clone(),
        };
        self.beside(move || match staging::run(&staging) {
            Ok(()) => Event::Staged,
            Err(text) => Event::StageFailed(text),
        });
        Ok(())
    }

    fn on_esp(
        &mut self,
        plan: impl FnOnce(&Slots) -> Result<Vec<Step>, Refusal>,
    ) -> Result<(), String> {
        let esp = self.esp.clone().ok_or("no ESP")?;
        let esp = esp.lock().unwrap_or_else(PoisonError::into_inner);
        let mounted = esp
            .volume
            .change(&self.product)
            .map_err(|e| e.to_string())?;
        let slots = mounted.slots(&self.product, self.machine.running);
        let slots = slots.map_err(|e| e.to_string())?;
        let steps = plan(&slots);
        self.slots = Some(slots);
        let steps = steps.map_err(|e| e.to_string())?;
        let done = mounted.carry_out(&steps, &self.product, &mut || Ok(None));
        done.map_err(|e| e.to_string())?;
        let slots = mounted.slots(&self.product, self.machine.running);
        self.slots = slots.ok().or(self.slots.take());
        Ok(())
    }

    fn boot_ok(&self, healthy: Vec<String>) -> Result<(), String> {
        let record = BootOk {
            format: formats::release::FORMAT,
            version: self.machine.running,
            boot_id: self.boot_id.clone(),
            at_ns: now().epoch_ns,
            healthy,
        };
        self.records.boot_ok(&record).map_err(|e| e.to_string())
    }

    fn deny(&self, version: Version, reason: Reason, detail: String) -> Result<(), String> {
        let record = Denied {
            format: formats::release::FORMAT,
            version,
            reason,
            detail,
            boot_id: None,
            at_ns: now().epoch_ns,
        };
        self.records.deny(&record).map_err(|e| e.to_string())
    }
}

pub(super) fn health() -> &'static Path {
    Path::new(paths::HEALTH_SOCKET)
}

/// A release that was staged and never tried is the one thing that is removed unasked.
fn discard(slots: &Slots, version: Version) -> Vec<Step> {
    let unwanted = slots.find(version).filter(|_| version != slots.running);
    let never_good = unwanted.filter(|slot| slot.uki.counter.is_some());
    never_good
        .map(|slot| Step::Remove(slot.file.clone()))
        .into_iter()
        .collect()
}
