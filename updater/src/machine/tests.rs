//! Whole updates on a simulated host that is cut after any effect.

use super::*;
use crate::esp::plan::{self, Step};
use crate::esp::slots::{File, Slots};
use formats::update::Memory;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const RULES: Rules = Rules {
    unattended: true,
    poll: Some(Duration::from_secs(60)),
    seed: 7,
};
/// No update takes more boots.
const MOST_BOOTS: u32 = 40;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// What the new release is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Good,
    /// Its units never become healthy.
    Unhealthy,
    /// It never comes to a judgement.
    Panics,
    /// The loader can list it and not load it.
    Truncated,
    /// The loader does not list it.
    Garbage,
    /// Nothing is healthy, on no release.
    NoNetwork,
}

/// A host: what survives a cut, and the updater in memory.
struct Host {
    nature: Nature,
    files: BTreeMap<String, u64>,
    memory: Memory,
    denied: BTreeMap<Version, Reason>,
    running: Version,
    boots: u32,
    epoch_ns: u64,
    boot_ok: bool,
    /// Effects until the next cut, for each cut.
    cuts: Vec<usize>,
    machine: Option<Machine>,
    /// The strategy has kept it once.
    kept: bool,
    /// STATE is full: what is remembered is not durable.
    full: bool,
}

/// What comes of an effect.
enum Then {
    On,
    Event(Event),
    /// The effects behind it are dropped.
    Instead(Event),
    Boot,
}

impl Host {
    fn new(nature: Nature, cuts: Vec<usize>) -> Self {
        Self {
            nature,
            files: [("skeg_1.0.0.efi".to_owned(), 10)].into(),
            memory: Memory::new("0"),
            denied: BTreeMap::new(),
            running: version("1.0.0"),
            boots: 0,
            epoch_ns: 0,
            boot_ok: false,
            cuts,
            machine: None,
            kept: false,
            full: false,
        }
    }

    fn slots(&self) -> Slots {
        let files = self.files.iter().map(|(name, length)| File {
            name: name.clone(),
            length: *length,
        });
        Slots::of(&"skeg".parse().unwrap(), self.running, files.collect())
    }

    fn now(&self) -> Now {
        Now {
            boot: Duration::from_nanos(self.epoch_ns),
            epoch_ns: self.epoch_ns,
        }
    }

    fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Rename { from, to } => {
                    let length = self.files.remove(&from).unwrap();
                    self.files.insert(to, length);
                }
                Step::Remove(name) => drop(self.files.remove(&name)),
                Step::Write { .. } | Step::Verify { .. } => panic!("only names change here"),
            }
        }
    }

    /// Firmware and loader: counts, boots, and goes on to the next entry where nothing is loaded.
    fn boot(&mut self) {
        loop {
            self.boots += 1;
            assert!(self.boots < MOST_BOOTS, "for ever: {:?}", self.memory);
            let mut slots = self.slots();
            if self.nature == Nature::Garbage {
                slots.releases.retain(|s| s.uki.version == version("1.0.0"));
            }
            let slot = slots.next_boot().expect("nothing boots").clone();
            if let Some(mut counter) = slot.uki.counter.filter(|c| c.left > 0) {
                (counter.left, counter.done) = (counter.left - 1, counter.done + 1);
                let mut uki = slot.uki.clone();
                uki.counter = Some(counter);
                self.carry_out(vec![Step::Rename {
                    from: slot.file.clone(),
                    to: uki.to_string(),
                }]);
            }
            let new = slot.uki.version == version("1.1.0");
            if new && matches!(self.nature, Nature::Panics | Nature::Truncated) {
                continue;
            }
            self.running = slot.uki.version;
            self.boot_ok = false;
            return;
        }
    }

    fn healthy(&self) -> bool {
        match self.nature {
            Nature::NoNetwork => false,
            Nature::Unhealthy => self.running == version("1.0.0"),
            _ => true,
        }
    }

    fn act(&mut self, effect: &Effect) -> Then {
        let machine = self.machine.as_ref().unwrap();
        match effect {
            Effect::Remember if self.full => {
                if machine.may_be_hindered() {
                    return Then::Instead(Event::Hindered("no space".into()));
                }
            }
            Effect::Remember => self.memory = machine.memory.clone(),
            Effect::Check => {
                let new = version("1.1.0");
                let offered = (!self.denied.contains_key(&new)).then_some(new);
                return Then::Event(Event::Offered(offered));
            }
            Effect::Stage(new) => {
                assert_eq!(self.running, version("1.0.0"));
                self.files.retain(|name, _| !name.contains("1.1.0"));
                self.files.insert(format!("skeg_{new}+3.efi"), 10);
                return Then::Event(Event::Staged);
            }
            Effect::AskHealth => {
                return Then::Event(Event::Healthy(Some(vec!["web.service".into()])));
            }
            Effect::AskLeave => {
                // Kept once, then let go.
                let kept = std::mem::replace(&mut self.kept, true);
                let answer = if kept {
                    Ok(())
                } else {
                    Err(Duration::from_secs(30))
                };
                return Then::Event(Event::MayLeave(answer));
            }
            Effect::Judge(expected) => {
                assert_eq!(*expected, ["web.service"], "the set from before the drain");
                return Then::Event(match self.healthy() {
                    true => Event::Passed(expected.clone()),
                    false => Event::Failed("web.service: failed".into()),
                });
            }
            Effect::BootOk(_) => self.boot_ok = true,
            Effect::Bless => self.carry_out(plan::bless(&self.slots())),
            Effect::PutBehind(v) => self.carry_out(plan::deny(&self.slots(), *v).unwrap()),
            Effect::Prefer(v) => self.carry_out(plan::prefer(&self.slots(), *v).unwrap()),
            Effect::Deny(v, reason, _) => drop(self.denied.insert(*v, *reason)),
            Effect::Allow(v) => drop(self.denied.remove(v)),
            Effect::Reboot => return Then::Boot,
            Effect::StopStaging | Effect::Discard(_) => panic!("nobody asked"),
        }
        Then::On
    }

    /// Whether the power goes now.
    fn cut(&mut self) -> bool {
        match self.cuts.last_mut() {
            Some(0) => self.cuts.pop().is_some(),
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// One boot, until the next; true when nothing is left to do.
    fn live(&mut self) -> bool {
        let slots = self.slots();
        let boot_id = self.boots.to_string();
        let seen = Seen {
            slots: &slots,
            boot_id: &boot_id,
        };
        let (machine, effects) = resume(
            self.memory.clone(),
            self.running,
            RULES,
            Some(seen),
            self.now(),
        );
        self.machine = Some(machine);
        let mut effects: std::collections::VecDeque<_> = effects.into();
        let mut looks = 0;
        loop {
            let Some(effect) = effects.pop_front() else {
                let now = self.now();
                let Some(at) = self.machine.as_ref().unwrap().next_deadline(now) else {
                    return true;
                };
                looks += 1;
                if looks > 3 && matches!(self.memory.phase, Phase::Idle) {
                    return true;
                }
                self.epoch_ns = u64::try_from(at.as_nanos()).unwrap();
                effects.extend(self.step(Event::Tick));
                continue;
            };
            match self.act(&effect) {
                Then::Boot => {
                    self.boot();
                    return false;
                }
                Then::Event(event) => effects.extend(self.step(event)),
                Then::Instead(event) => effects = self.step(event).into(),
                Then::On => {}
            }
            if self.cut() {
                self.boot();
                return false;
            }
        }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let now = self.now();
        self.machine.as_mut().unwrap().step(event, now).unwrap()
    }

    fn run(mut self) -> Self {
        while !self.live() {}
        self
    }

    fn outcomes(&self) -> BTreeSet<String> {
        let history = self.memory.history.iter();
        history.map(|e| format!("{:?}", e.outcome)).collect()
    }
}

fn natures() -> impl Strategy<Value = Nature> {
    prop::sample::select(vec![
        Nature::Good,
        Nature::Unhealthy,
        Nature::Panics,
        Nature::Truncated,
        Nature::Garbage,
        Nature::NoNetwork,
    ])
}

#[test]
fn each_kind_of_release_ends_where_it_should_uncut() {
    for (nature, runs, denied) in [
        (Nature::Good, "1.1.0", None),
        (Nature::Unhealthy, "1.0.0", Some(Reason::Unhealthy)),
        (Nature::Panics, "1.0.0", Some(Reason::NeverJudged)),
        (Nature::Truncated, "1.0.0", Some(Reason::NeverJudged)),
        (Nature::Garbage, "1.0.0", Some(Reason::Unloadable)),
        (Nature::NoNetwork, "1.0.0", Some(Reason::Unhealthy)),
    ] {
        let host = Host::new(nature, Vec::new()).run();
        assert_eq!(host.running, version(runs), "{nature:?}");
        assert_eq!(
            host.denied.get(&version("1.1.0")).copied(),
            denied,
            "{nature:?}"
        );
        assert!(host.boot_ok, "{nature:?}");
        let inconclusive = host.outcomes().contains("Inconclusive");
        assert_eq!(inconclusive, nature == Nature::NoNetwork, "{nature:?}");
    }
}

#[test]
fn a_release_that_was_tried_before_its_staging_was_remembered_is_judged_all_the_same() {
    let mut host = Host::new(Nature::Truncated, Vec::new());
    host.files.insert("skeg_1.1.0+0-3.efi".into(), 10);
    host.memory.phase = Phase::Staging {
        version: version("1.1.0"),
    };
    host.memory.expected = vec!["web.service".into()];
    let host = host.run();
    assert_eq!(
        host.denied.get(&version("1.1.0")),
        Some(&Reason::NeverJudged)
    );
    assert_eq!(host.boots, 0, "it was staged again");
}

#[test]
fn a_host_that_cannot_remember_what_is_healthy_neither_stages_nor_goes_down() {
    let mut host = Host::new(Nature::Good, Vec::new());
    host.full = true;
    let slots = host.slots();
    let seen = Seen {
        slots: &slots,
        boot_id: "0",
    };
    let (machine, _) = resume(
        Memory::new("0"),
        host.running,
        RULES,
        Some(seen),
        host.now(),
    );
    host.machine = Some(machine);
    let mut effects =
        std::collections::VecDeque::from(host.step(Event::Offered(Some(version("1.1.0")))));
    while let Some(effect) = effects.pop_front() {
        match host.act(&effect) {
            Then::Event(event) => effects.extend(host.step(event)),
            Then::Instead(event) => effects = host.step(event).into(),
            Then::Boot => panic!("it went down"),
            Then::On => {}
        }
    }
    assert_eq!(host.files.len(), 1, "it staged");
    let machine = host.machine.as_ref().unwrap();
    assert!(matches!(machine.memory.phase, Phase::Waiting { .. }));
    assert_eq!(machine.memory.history[0].detail, "no space");

    // Full only when it was to go down: later, once there is room again.
    (host.full, host.kept) = (false, true);
    let mut effects =
        std::collections::VecDeque::from(host.step(Event::Offered(Some(version("1.1.0")))));
    let mut booted = false;
    while let Some(effect) = effects.pop_front() {
        host.full |= effect == Effect::AskLeave;
        match host.act(&effect) {
            Then::Event(event) => effects.extend(host.step(event)),
            Then::Instead(event) => effects = host.step(event).into(),
            Then::Boot => booted = true,
            Then::On => {}
        }
    }
    assert!(!booted);
    let phase = &host.machine.as_ref().unwrap().memory.phase;
    assert!(matches!(phase, Phase::Staged { .. }), "{phase:?}");
    assert!(
        host.machine
            .as_ref()
            .unwrap()
            .next_deadline(host.now())
            .is_some()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_host_that_is_cut_anywhere_goes_on_or_goes_back(
        nature in natures(), cuts in prop::collection::vec(0usize..12, 0..4)
    ) {
        let host = Host::new(nature, cuts).run();
        let new = version("1.1.0");
        prop_assert_eq!(&host.memory.phase, &Phase::Idle);
        prop_assert!(host.boot_ok);
        let next = host.slots().next_boot().unwrap().uki.clone();
        prop_assert_eq!(next.version, host.running);
        // Cuts take tries as panics do: a good release may be denied by three of them, and no bad one
        // is ever kept.
        if host.running == new {
            prop_assert_eq!(nature, Nature::Good);
            prop_assert_eq!(next.counter, None);
        } else {
            prop_assert!(host.denied.contains_key(&new));
        }
    }

    #[test]
    fn no_order_of_events_makes_it_panic_or_forget_what_runs(
        events in prop::collection::vec(0usize..17, 0..40), unattended: bool
    ) {
        let slots = Host::new(Nature::Good, Vec::new()).slots();
        let rules = Rules { unattended, ..RULES };
        let seen = Seen { slots: &slots, boot_id: "1" };
        let now = Now { boot: Duration::ZERO, epoch_ns: 0 };
        let (mut machine, _) = resume(Memory::new("0"), version("1.0.0"), rules, Some(seen), now);
        let (new, units) = (version("1.1.0"), vec!["web.service".to_owned()]);
        for event in events {
            let event = match event {
                0 => Event::Tick,
                1 => Event::Offered(Some(new)),
                2 => Event::Offered(None),
                3 => Event::CheckFailed,
                4 => Event::Staged,
                5 => Event::StageFailed("full".into()),
                6 => Event::Healthy(Some(units.clone())),
                7 => Event::Passed(units.clone()),
                8 => Event::Failed("no".into()),
                9 => Event::Ask(Ask::Apply),
                10 => Event::Ask(Ask::Reboot),
                11 => Event::Ask(Ask::Cancel),
                12 => Event::Ask(Ask::Pin(Some(version("1.0.0")))),
                13 => Event::MayLeave(Ok(())),
                14 => Event::MayLeave(Err(Duration::from_secs(9))),
                15 => Event::Hindered("full".into()),
                _ => Event::Ask(Ask::Check),
            };
            let before = machine.clone();
            if machine.step(event, now).is_err() {
                prop_assert_eq!(&machine, &before, "a refusal changes nothing");
            }
            prop_assert_eq!(machine.running, version("1.0.0"));
        }
    }
}
