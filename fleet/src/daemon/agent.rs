//! `skeg fleet agent`: between etcd, the agent's state machine and this host.
//!
//! It never stops a unit by ending itself, or by losing etcd.

use super::{Config, life, now, told_to_stop};
use crate::agent::{Agent, Input, Output};
use crate::etcd::{Event, Store};
use crate::host::{Folders, Host};
use formats::fleet::{MachineId, MachineRecord};

/// Runs until SIGTERM.
///
/// # Errors
/// In words, why it cannot go on.
pub async fn run(config: Config) -> Result<(), String> {
    let id = machine_id(&config)?;
    let (store, events) = Store::new(&config.etcd, config.seen("agent")).map_err(words)?;
    let folders = Folders {
        units: config.agent.units.clone(),
        quadlets: config.agent.quadlets.clone(),
        own: config.agent.own.clone(),
    };
    let (host, running) = Host::open(&config.agent.systemd1, folders)
        .await
        .map_err(words)?;
    let record = MachineRecord {
        metadata: config.agent.metadata.clone(),
        cpu_milli: config.agent.cpu_milli,
        memory: config.agent.memory,
    };
    let ttl = config.patience().ttl;
    let agent = Agent::new(id.clone(), record, ttl, &running).numbered_from(life());
    eprintln!(
        "<5>machine {id}: {} units of the fleet run here",
        running.len()
    );
    let mut between = Between { agent, store, host };
    between.run(events, ttl / 6).await
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn machine_id(config: &Config) -> Result<MachineId, String> {
    let path = &config.agent.machine_id;
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("read {}: {e}", path.display()))?;
    let id = text.trim().parse();
    id.map_err(|e| format!("{}: {e}", path.display()))
}

struct Between {
    agent: Agent,
    store: Store,
    host: Host,
}

impl Between {
    async fn run(
        &mut self,
        mut events: tokio::sync::mpsc::UnboundedReceiver<Event>,
        rest: std::time::Duration,
    ) -> Result<(), String> {
        let mut stop = std::pin::pin!(told_to_stop());
        self.step(Input::Tick).await?;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Reply(number, reply)) => self.step(Input::Reply(number, reply)).await?,
                    Some(Event::Watched(number, watched)) => {
                        self.step(Input::Watched(number, watched)).await?;
                    }
                    Some(Event::Stop(why)) => return Err(why),
                    None => return Err("etcd's client ended".to_owned()),
                },
                happened = self.host.happens(now()) => {
                    for (unit, heard, order) in self.host.news(happened).await.map_err(words)? {
                        self.step(Input::Host(unit, heard, order)).await?;
                    }
                }
                () = tokio::time::sleep(rest) => self.step(Input::Tick).await?,
                stopped = &mut stop => return stopped,
            }
        }
    }

    /// One input, and all that follows from it at once.
    async fn step(&mut self, input: Input) -> Result<(), String> {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut orders = Vec::new();
            for output in self.agent.step(input, now()) {
                match output {
                    Output::Ask(number, request) => self.store.ask(number, request),
                    Output::Order(order) => orders.push(order),
                }
            }
            if orders.is_empty() {
                continue;
            }
            let news = self.host.carry_out(orders).await.map_err(words)?;
            inputs.extend(
                news.into_iter()
                    .map(|(unit, heard, order)| Input::Host(unit, heard, order)),
            );
        }
        Ok(())
    }
}
