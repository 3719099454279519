//! Many machines in one thread: the real agent, each with its own connection to a real etcd, on hosts
//! that start a unit at once.
//!
//! It measures nothing itself; it tells when something starts.

use crate::cluster::id;
use fleet::agent::{Agent, Heard, Input, Order, Output};
use fleet::daemon::now;
use fleet::etcd::{Config, Event, Seen, Store};
use fleet::store::{Change, Request, Watched};
use formats::fleet::MachineRecord;
use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A change below a prefix that is watched.
#[derive(Debug, Clone)]
pub struct Changed {
    pub key: String,
    pub value: Option<Vec<u8>>,
    pub at: Instant,
}

/// All of them. They end with it.
pub struct Swarm {
    runtime: tokio::runtime::Handle,
    /// Its end ends the event loop, and all that is in it.
    _stop: tokio::sync::oneshot::Sender<()>,
    tasks: Vec<tokio::task::AbortHandle>,
    started: mpsc::Receiver<Instant>,
}

impl Swarm {
    pub fn start(endpoints: &[String], machines: usize, ttl: Duration) -> Self {
        let all = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let runtime = all.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || all.block_on(stopped));
        let (tell, started) = mpsc::channel();
        let tasks = (0..machines)
            .map(|number| {
                let machine = machine(number, endpoints.to_vec(), ttl, tell.clone());
                runtime.spawn(machine).abort_handle()
            })
            .collect();
        Self {
            runtime,
            _stop: stop,
            tasks,
            started,
        }
    }

    /// The machine is no more, from one moment to the next.
    pub fn kill(&self, number: usize) {
        self.tasks[number].abort();
    }

    /// Waits until so many units were started; when each was.
    pub fn wait(&self, units: usize) -> Vec<Instant> {
        let next = |_| {
            let next = self.started.recv_timeout(Duration::from_secs(120));
            next.expect("a unit starts within two minutes")
        };
        (0..units).map(next).collect()
    }

    /// What changes below these prefixes from now on.
    pub fn watch(&self, endpoints: &[String], prefixes: &[&str]) -> mpsc::Receiver<Changed> {
        let (tell, told) = mpsc::channel();
        let config = Config::plain(endpoints);
        let prefixes: Vec<String> = prefixes.iter().map(|&p| p.to_owned()).collect();
        let (ready, is_ready) = mpsc::channel();
        self.runtime.spawn(async move {
            let (mut store, mut events) = Store::new(&config, Seen::default()).expect("etcd");
            store.ask(1, Request::Read(vec!["engine/leader".to_owned()]));
            while let Some(event) = events.recv().await {
                match event {
                    Event::Reply(_, fleet::store::Reply::Read { revision, .. }) => {
                        store.ask(2, Request::Watch(prefixes.clone(), revision + 1));
                        let _ = ready.send(());
                    }
                    Event::Watched(_, Watched::Changes(_, changes)) => {
                        let at = Instant::now();
                        for change in changes {
                            let (key, value) = match change {
                                Change::Put(item) => (item.key, Some(item.value)),
                                Change::Deleted { key, .. } => (key, None),
                            };
                            let _ = tell.send(Changed { key, value, at });
                        }
                    }
                    _ => {}
                }
            }
        });
        is_ready
            .recv_timeout(Duration::from_secs(20))
            .expect("a watch");
        told
    }
}

async fn machine(
    number: usize,
    endpoints: Vec<String>,
    ttl: Duration,
    tell: mpsc::Sender<Instant>,
) {
    let config = Config::plain(&endpoints);
    let (mut store, mut events) = Store::new(&config, Seen::default()).expect("etcd");
    let id = id(number).parse().expect("an id");
    let mut agent = Agent::new(id, MachineRecord::default(), ttl, &[]);
    let mut inputs = VecDeque::from([Input::Tick]);
    loop {
        while let Some(input) = inputs.pop_front() {
            for output in agent.step(input, now()) {
                match output {
                    Output::Ask(number, request) => store.ask(number, request),
                    Output::Order(Order::Start {
                        number: order,
                        unit,
                        ..
                    }) => {
                        let _ = tell.send(Instant::now());
                        inputs.push_back(Input::Host(unit, Heard::Runs, order));
                    }
                    Output::Order(Order::Stop { number, unit }) => {
                        inputs.push_back(Input::Host(unit, Heard::Ended, number));
                    }
                    Output::Order(Order::Feed(..)) => {}
                }
            }
        }
        inputs.push_back(tokio::select! {
            event = events.recv() => match event {
                Some(Event::Reply(number, reply)) => Input::Reply(number, reply),
                Some(Event::Watched(number, watched)) => Input::Watched(number, watched),
                _ => return,
            },
            () = tokio::time::sleep(ttl / 6) => Input::Tick,
        });
    }
}
