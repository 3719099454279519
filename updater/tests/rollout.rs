//! Ten thousand simulated hosts and one release that is bad on some of them: who takes it when, what the
//! rest sees of it, and that a frozen release stops. The machines are the hosts' own; the clock is not.

use formats::channel::Rollout;
use formats::update::{Memory, Outcome, Phase};
use formats::version::Version;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;
use updater::esp::slots::{File, Slots};
use updater::machine::{Effect, Event, Machine, Now, Rules, Seen, resume};
use updater::strategy::wariness::{is_its_turn, place};

const HOSTS: usize = 10_000;
const HOUR: u64 = 3600;
/// When the release is promoted, in seconds since the epoch.
const START: u64 = 1_790_000_000;
const RELEASE: [u8; 32] = [7; 32];

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// 1 % in the first hour, half of them within a day, all within two.
fn rollout() -> Rollout {
    Rollout {
        start: START,
        curve: vec![(HOUR, 10_000), (24 * HOUR, 500_000), (48 * HOUR, 1_000_000)],
    }
}

struct Host {
    machine: Machine,
    place: u32,
    /// The release is bad on it.
    ill: bool,
    /// When it took the release; more than one would be tried again.
    took: Vec<u64>,
    denied: bool,
    boots: u32,
}

/// The world: when the publisher freezes the channel.
struct World {
    frozen_at: u64,
}

impl Host {
    fn new(number: usize) -> Self {
        let id = format!("{number:032x}\n");
        let rules = Self::rules(number);
        let (machine, _) = boot(
            Memory::new("0"),
            "1.0.0",
            &["skeg_1.0.0.efi"],
            "0",
            rules,
            START,
        );
        Self {
            machine,
            place: place(id.as_bytes(), &RELEASE),
            // One of fifty, whatever its place.
            ill: place(id.as_bytes(), b"ill") < 20_000,
            took: Vec::new(),
            denied: false,
            boots: 0,
        }
    }

    fn rules(number: usize) -> Rules {
        Rules {
            unattended: true,
            poll: Some(Duration::from_secs(HOUR)),
            seed: number as u64 + 1,
        }
    }

    /// Lets it do what is due, to the end, reboots included.
    fn live(&mut self, number: usize, world: &World, at: u64) {
        let mut events = VecDeque::from([Event::Tick]);
        while let Some(event) = events.pop_front() {
            for effect in self.machine.step(event, now(at)).unwrap() {
                events.extend(self.act(&effect, number, world, at));
            }
        }
    }

    fn act(&mut self, effect: &Effect, number: usize, world: &World, at: u64) -> Vec<Event> {
        let web = || vec!["web.service".to_owned()];
        vec![match effect {
            Effect::Check => {
                let stopped = at >= world.frozen_at || self.denied;
                let turn = !stopped && is_its_turn(&rollout(), self.place, at);
                let newer = self.machine.running < version("1.1.0");
                Event::Offered((turn && newer).then(|| version("1.1.0")))
            }
            Effect::AskHealth => Event::Healthy(Some(web())),
            Effect::Stage(_) => {
                self.took.push(at);
                Event::Staged
            }
            Effect::AskLeave => Event::MayLeave(Ok(())),
            Effect::Judge(_) if self.ill && self.machine.running == version("1.1.0") => {
                Event::Failed("web.service: failed".into())
            }
            Effect::Judge(_) => Event::Passed(web()),
            Effect::Deny(..) => {
                self.denied = true;
                return Vec::new();
            }
            Effect::Reboot => return self.reboot(number, world, at),
            _ => return Vec::new(),
        }]
    }

    fn reboot(&mut self, number: usize, world: &World, at: u64) -> Vec<Event> {
        self.boots += 1;
        let back = matches!(self.machine.memory.phase, Phase::Returned { .. });
        let (running, new) = match back {
            true => ("1.0.0", "skeg_1.1.0+0-1.efi"),
            false => ("1.1.0", "skeg_1.1.0+2-1.efi"),
        };
        let memory = self.machine.memory.clone();
        let names = ["skeg_1.0.0.efi", new];
        let id = self.boots.to_string();
        let (machine, effects) = boot(memory, running, &names, &id, Self::rules(number), at);
        self.machine = machine;
        let acted = effects.iter().map(|e| self.act(e, number, world, at));
        acted.collect::<Vec<_>>().concat()
    }
}

fn boot(
    memory: Memory,
    running: &str,
    names: &[&str],
    boot_id: &str,
    rules: Rules,
    at: u64,
) -> (Machine, Vec<Effect>) {
    let file = |name: &&str| File {
        name: (*name).to_owned(),
        length: 10,
    };
    let files = names.iter().map(file).collect();
    let slots = Slots::of(&"skeg".parse().unwrap(), version(running), files);
    let seen = Seen {
        slots: &slots,
        boot_id,
    };
    resume(memory, version(running), rules, Some(seen), now(at))
}

/// Hosts were switched on when the release was promoted.
fn now(at: u64) -> Now {
    Now {
        boot: Duration::from_secs(at - START),
        epoch_ns: at * 1_000_000_000,
    }
}

/// Lives for three days; the hosts as they are then.
fn run(world: &World) -> Vec<Host> {
    let mut hosts: Vec<Host> = (0..HOSTS).map(Host::new).collect();
    let due = |host: &Host, at: u64| {
        let due = host.machine.next_deadline(now(at)).unwrap();
        // Rounded up: nobody is asked before its time.
        START + due.as_secs() + 1
    };
    let first = hosts.iter().enumerate();
    let mut queue: BinaryHeap<_> = first.map(|(n, h)| Reverse((due(h, START), n))).collect();
    while let Some(Reverse((at, number))) = queue.pop() {
        if at > START + 72 * HOUR {
            break;
        }
        let host = &mut hosts[number];
        host.live(number, world, at);
        queue.push(Reverse((due(host, at), number)));
    }
    hosts
}

/// Hosts that have taken it by then, in millionths of all.
fn taken(hosts: &[Host], by: u64) -> u32 {
    let early = hosts.iter().filter(|h| h.took.iter().any(|at| *at <= by));
    u32::try_from(early.count() * 1_000_000 / HOSTS).unwrap()
}

#[test]
fn the_share_that_updates_in_each_hour_follows_the_curve_and_the_ill_go_back_once() {
    let hosts = run(&World {
        frozen_at: u64::MAX,
    });
    // A host looks once in 1.1 h at the latest; places are random.
    let (lag, luck) = (HOUR + HOUR / 10 + 2, 10_000);
    for hour in 0..=60 {
        let at = START + hour * HOUR;
        let share = taken(&hosts, at);
        let (least, most) = (rollout().share(at.saturating_sub(lag)), rollout().share(at));
        let fits = share + luck >= least && share <= most + luck;
        assert!(fits, "hour {hour}: {share}, expected {least} to {most}");
    }
    let ill = hosts.iter().filter(|h| h.ill).count();
    assert!((150..250).contains(&ill), "{ill}");
    for host in &hosts {
        assert_eq!(host.took.len(), 1, "each takes it once");
        assert_eq!(host.machine.memory.phase, Phase::Idle);
        let history = &host.machine.memory.history;
        let outcome = history.last().unwrap().outcome;
        let (runs, ended) = match host.ill {
            true => ("1.0.0", Outcome::RolledBack),
            false => ("1.1.0", Outcome::Good),
        };
        assert_eq!((host.machine.running, outcome), (version(runs), ended));
        assert_eq!(host.denied, host.ill);
    }
}

#[test]
fn a_frozen_release_stops_for_all_that_have_not_begun() {
    let frozen_at = START + 12 * HOUR;
    let hosts = run(&World { frozen_at });
    let (then, ever) = (taken(&hosts, frozen_at), taken(&hosts, u64::MAX));
    assert_eq!(then, ever, "somebody took it after the freeze");
    let curve = rollout().share(frozen_at);
    assert!(ever <= curve + 10_000, "{ever} of {curve}");
    // Of the ill most never met it.
    let met = hosts.iter().filter(|h| h.ill && h.denied).count();
    let ill = hosts.iter().filter(|h| h.ill).count();
    assert!(met < ill / 2, "{met} of {ill}");
    let rest = hosts.iter().filter(|h| h.took.is_empty());
    assert!(
        rest.clone()
            .all(|h| h.boots == 0 && h.machine.running == version("1.0.0"))
    );
}
