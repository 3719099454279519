//! A cluster in virtual time: etcd, engines, agents with their hosts, and the network between.
//!
//! Everything that happens stands in one queue, ordered by time and then by when it was put there.

use super::check::{self, Violation};
use super::etcd::Etcd;
use super::host::Host;
use super::{Chance, faults};
use crate::agent::{self, Agent, Heard};
use crate::engine::{self, Engine};
use crate::plan::Patience;
use crate::store::{Reply, Request, Watched};
use formats::fleet::{MachineId, MachineRecord, UnitName};
use std::collections::BTreeMap;
use std::time::Duration;

/// A client of etcd waits this long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often clocks are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What to build.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Engines; one leads.
    pub engines: usize,
    /// Machines, an agent each.
    pub machines: usize,
    /// Units that users play with.
    pub units: u64,
    /// Whether faults happen.
    pub faults: bool,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

/// A defence that is taken out, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Transactions without the leader's key in their conditions.
    NoFence,
    /// The brake never holds.
    NoBrake,
    /// Strict units get no time limit.
    NoWatchdog,
    /// A machine's word that a unit stopped is not waited for.
    NoWait,
    /// Units are moved from where they may stay, to be spread evenly.
    Restless,
}

/// Who speaks with etcd.
#[derive(Debug, Clone)]
pub enum Node {
    /// An engine.
    Engine(Box<Engine>),
    /// An agent with its host.
    Agent(Box<Agent>),
}

#[derive(Debug, Clone)]
enum Happens {
    Tick(usize),
    Asked(usize, u64, Request),
    Answered(usize, u64, Reply),
    Told(usize, u64, Watched),
}

/// The cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What was built.
    pub setup: Setup,
    /// Now.
    pub now: Duration,
    /// Steps so far.
    pub steps: u64,
    pub(super) etcd: Etcd,
    pub(super) nodes: Vec<Node>,
    pub(super) hosts: BTreeMap<MachineId, Host>,
    pub(super) chance: Chance,
    pub(super) trouble: faults::Trouble,
    queue: BTreeMap<(Duration, u64), Happens>,
    order: u64,
    /// Which incarnation of a node a message belongs to is told by its numbers alone: they go on.
    pub(super) born: u64,
    /// When each machine that is lost now was lost, by etcd.
    pub(super) gone: BTreeMap<MachineId, Duration>,
    /// A unit that an engine takes from where it may stay.
    moved: Option<Violation>,
    /// Print what concerns this unit, and machines that come and go.
    pub trace: Option<String>,
}

/// Time to live of leases in the simulator.
pub(super) fn patience() -> Patience {
    Patience {
        ttl: Duration::from_secs(10),
        kill: Duration::from_secs(5),
        grace: Duration::from_secs(5),
    }
}

/// The machine of an agent's node.
pub(super) fn machine(setup: &Setup, node: usize) -> MachineId {
    let number = node - setup.engines + 1;
    format!("{number:032x}")
        .parse()
        .unwrap_or_else(|_| unreachable!("32 digits"))
}

impl Cluster {
    /// Everything up, nothing asked yet.
    #[must_use]
    pub fn new(seed: u64, setup: Setup) -> Self {
        let mut cluster = Self {
            setup,
            now: Duration::from_secs(1),
            steps: 0,
            etcd: Etcd::default(),
            nodes: Vec::new(),
            hosts: BTreeMap::new(),
            chance: Chance::new(seed),
            trouble: faults::Trouble::default(),
            queue: BTreeMap::new(),
            order: 0,
            born: 0,
            gone: BTreeMap::new(),
            moved: None,
            trace: None,
        };
        for node in 0..setup.engines + setup.machines {
            if node >= setup.engines {
                let rate = 1000 - 45 + cluster.chance.below(91);
                cluster.hosts.insert(machine(&setup, node), Host::new(rate));
            }
            let fresh = cluster.fresh(node);
            cluster.nodes.push(fresh);
            let first = cluster.now + cluster.chance.millis(0, 100);
            cluster.put(first, Happens::Tick(node));
        }
        cluster
    }

    /// A node as it starts.
    pub(super) fn fresh(&mut self, node: usize) -> Node {
        self.born += 1;
        if node < self.setup.engines {
            let engine = Engine::new(&format!("engine-{}", self.born), patience(), self.now);
            let engine = engine
                .numbered_from(self.born << 32)
                .sabotaged(self.setup.sabotage);
            return Node::Engine(Box::new(engine));
        }
        let id = machine(&self.setup, node);
        let running = self.hosts[&id].units();
        let record = MachineRecord::default();
        let agent = Agent::new(id, record, patience().ttl, &running);
        Node::Agent(Box::new(agent.numbered_from(self.born << 32)))
    }

    fn put(&mut self, at: Duration, happens: Happens) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), happens);
    }

    /// A life: trouble for so long, then peace, and rest.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn live(&mut self, trouble: Duration) -> Result<(), Violation> {
        self.trouble.until = self.now + trouble;
        self.run(self.trouble.until)?;
        faults::calm(self);
        self.tell();
        // Longest fault, then a strict unit's wait, then one start after another.
        self.run(self.now + Duration::from_secs(120 + 60 + 60))?;
        check::settled(self)
    }

    /// Runs until a moment.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn run(&mut self, until: Duration) -> Result<(), Violation> {
        while let Some(((at, _), happens)) = self.queue.pop_first() {
            self.now = at;
            if at >= until {
                self.put(at, happens);
                return Ok(());
            }
            self.steps += 1;
            self.happens(happens)?;
            if let Some(violation) = self.moved.take() {
                return Err(violation);
            }
            check::always(self)?;
        }
        Ok(())
    }

    fn happens(&mut self, happens: Happens) -> Result<(), Violation> {
        match happens {
            Happens::Tick(node) => {
                self.put(self.now + TICK, Happens::Tick(node));
                faults::happen(self, node);
                self.host(node);
                self.step(node, Event::Tick);
            }
            Happens::Asked(node, number, request) => self.asked(node, number, request)?,
            Happens::Answered(node, number, reply) => self.step(node, Event::Reply(number, reply)),
            Happens::Told(node, number, watched) => {
                self.step(node, Event::Watched(number, watched));
            }
        }
        Ok(())
    }

    fn asked(&mut self, node: usize, number: u64, request: Request) -> Result<(), Violation> {
        if let Some(until) = self.trouble.stall.filter(|until| *until > self.now) {
            self.put(until, Happens::Asked(node, number, request));
            return Ok(());
        }
        self.etcd.expire(self.now);
        self.note_lost();
        check::before(self, node, number, &request)?;
        let reply = self.etcd.ask(node, number, &request, self.now);
        if let Some(reply) = reply {
            let at = self.now + self.chance.millis(0, 20);
            if !self.trouble.loses_reply(node, self.now, &mut self.chance) {
                self.put(at, Happens::Answered(node, number, reply));
            }
        }
        self.tell();
        Ok(())
    }

    /// A line of the trace, if it concerns what is traced.
    pub(super) fn note(&self, line: &str) {
        note(&self.trace, self.now, line);
    }

    /// Sends out what watches have to be told.
    pub(super) fn tell(&mut self) {
        if self.trace.is_some() {
            let lines = self.etcd.untraced();
            lines.iter().for_each(|line| self.note(line));
        }
        for (node, number, watched) in self.etcd.news() {
            let at = self.now + self.chance.millis(0, 20);
            if self.trouble.is_cut(node, self.now) {
                self.hang_up(node);
                continue;
            }
            // One connection: what was sent first arrives first.
            let last = self.trouble.last_told.entry(node).or_default();
            *last = at.max(*last);
            let at = *last;
            self.put(at, Happens::Told(node, number, watched));
        }
    }

    /// A broken connection is noticed after a while, and never silently mended.
    pub(super) fn hang_up(&mut self, node: usize) {
        if let Some(number) = self.etcd.hang_up(node) {
            let at = self.now + self.chance.millis(100, 5_000);
            self.put(at, Happens::Told(node, number, Watched::Ended));
        }
    }

    fn host(&mut self, node: usize) {
        if node < self.setup.engines || self.trouble.is_dead(node) {
            return;
        }
        let id = machine(&self.setup, node);
        let now = self.now;
        let news = self.hosts.get_mut(&id).map(|host| host.work(now));
        for (unit, running, order) in news.unwrap_or_default() {
            self.note(&format!("{id} says {unit} {running:?} after {order}"));
            self.step(node, Event::Host(unit, running, order));
        }
    }

    fn step(&mut self, node: usize, event: Event) {
        if self.trouble.is_away(node, self.now) {
            // Paused: it hears later; dead: never.
            if let (Some(at), false) = (self.trouble.wakes(node), event == Event::Tick) {
                self.later(at, node, event);
            }
            return;
        }
        let now = self.now;
        let asks: Vec<(u64, Request)> = match &mut self.nodes[node] {
            Node::Engine(engine) => {
                let Some(input) = event.engine() else { return };
                let asks = engine.step(input, now);
                let asks: Vec<_> = asks
                    .into_iter()
                    .map(|engine::Ask(number, request)| (number, request))
                    .collect();
                let moves = check::moves(engine.mirror(), &asks);
                if let Some(rule) = moves {
                    self.moved.get_or_insert(Violation { at: now, rule });
                }
                asks
            }
            Node::Agent(agent) => {
                let id = machine(&self.setup, node);
                let Some(host) = self.hosts.get_mut(&id) else {
                    return;
                };
                let outputs = agent.step(event.agent(), host.clock(now));
                let mut asks = Vec::new();
                for output in outputs {
                    match output {
                        agent::Output::Ask(number, request) => asks.push((number, request)),
                        agent::Output::Order(order) => {
                            let order = check::sabotaged(order, self.setup.sabotage);
                            note(&self.trace, now, &format!("{id} is told {order:?}"));
                            host.order(order, now, &mut self.chance);
                        }
                    }
                }
                asks
            }
        };
        for (number, request) in asks {
            self.send(node, number, request);
        }
    }

    fn later(&mut self, at: Duration, node: usize, event: Event) {
        let happens = match event {
            Event::Tick => Happens::Tick(node),
            Event::Reply(number, reply) => Happens::Answered(node, number, reply),
            Event::Watched(number, watched) => Happens::Told(node, number, watched),
            // The host keeps its word until it is asked again: it is told at the next start.
            Event::Host(unit, running, order) => {
                self.trouble.unheard.push((node, unit, running, order));
                return;
            }
        };
        self.put(at, happens);
    }

    /// What a paused agent did not hear of its host.
    pub(super) fn catch_up(&mut self, node: usize) {
        let unheard = std::mem::take(&mut self.trouble.unheard);
        for (to, unit, running, order) in unheard {
            if to == node {
                self.step(node, Event::Host(unit, running, order));
            } else {
                self.trouble.unheard.push((to, unit, running, order));
            }
        }
    }

    fn send(&mut self, node: usize, number: u64, request: Request) {
        let request = check::unfenced(request, self.setup.sabotage, node < self.setup.engines);
        let at = self.now + self.chance.millis(0, 20);
        if !matches!(request, Request::Watch(..)) {
            self.put(
                self.now + TIMEOUT,
                Happens::Answered(node, number, Reply::Unknown),
            );
        }
        if self.trouble.is_cut(node, self.now) {
            if matches!(request, Request::Watch(..)) {
                let at = self.now + TIMEOUT;
                self.put(at, Happens::Told(node, number, Watched::Ended));
            }
            return;
        }
        self.put(at, Happens::Asked(node, number, request));
    }
}

fn note(trace: &Option<String>, now: Duration, line: &str) {
    let wanted = |unit: &String| line.contains(unit.as_str()) || line.contains("alive/");
    if trace.as_ref().is_some_and(wanted) {
        println!("{:9.3} {line}", now.as_secs_f64());
    }
}

/// What a node is told.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Tick,
    Reply(u64, Reply),
    Watched(u64, Watched),
    Host(UnitName, Heard, u64),
}

impl Event {
    fn engine(self) -> Option<engine::Input> {
        match self {
            Self::Tick => Some(engine::Input::Tick),
            Self::Reply(number, reply) => Some(engine::Input::Reply(number, reply)),
            Self::Watched(number, watched) => Some(engine::Input::Watched(number, watched)),
            Self::Host(..) => None,
        }
    }

    fn agent(self) -> agent::Input {
        match self {
            Self::Tick => agent::Input::Tick,
            Self::Reply(number, reply) => agent::Input::Reply(number, reply),
            Self::Watched(number, watched) => agent::Input::Watched(number, watched),
            Self::Host(unit, running, order) => agent::Input::Host(unit, running, order),
        }
    }
}
