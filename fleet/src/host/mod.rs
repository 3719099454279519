//! A host's units, driven over the D-Bus API of systemd: orders in, what became of them out.
//!
//! It decides nothing. On Skeg the engine answers, elsewhere systemd; both over a peer-to-peer socket.

mod files;
mod systemd1;

pub use files::Folders;

use crate::agent::{Heard, Order};
use formats::fleet::UnitName;
use std::collections::BTreeMap;
use std::time::Duration;
use systemd1::{Signal, Systemd1};
use tokio::sync::mpsc;

/// What a host says: the unit, what became of it, and the order that it had carried out.
pub type News = (UnitName, Heard, u64);

/// Why a host cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The socket or a call.
    #[error("systemd1 at {at}: {source}")]
    Bus {
        /// The socket.
        at: String,
        /// Why.
        source: zbus::Error,
    },
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Something happened on a host.
#[derive(Debug)]
pub struct Happened(What);

#[derive(Debug)]
enum What {
    Signal(Signal),
    /// A strict unit's time is over.
    Deadline(Duration),
    Gone,
}

#[derive(Debug, Default)]
struct Unit {
    order: u64,
    /// The job that was queued last and has not ended.
    job: Option<String>,
    /// A strict one is stopped then, on the monotonic clock.
    until: Option<Duration>,
    starved: bool,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    bus: Systemd1,
    signals: mpsc::UnboundedReceiver<Signal>,
    folders: Folders,
    units: BTreeMap<UnitName, Unit>,
    at: String,
}

impl Host {
    /// Connects; also says which of the fleet's units run here already, from which texts.
    ///
    /// # Errors
    /// No such socket, or folders that cannot be made.
    pub async fn open(
        socket: &str,
        folders: Folders,
    ) -> Result<(Self, Vec<(UnitName, String)>), HostError> {
        let at = socket.to_owned();
        let failed = |source| HostError::Bus {
            at: at.clone(),
            source,
        };
        folders.make()?;
        let (bus, signals) = Systemd1::connect(socket).await.map_err(failed)?;
        let mut host = Self {
            bus,
            signals,
            folders,
            units: BTreeMap::new(),
            at: at.clone(),
        };
        let mut running = Vec::new();
        for (name, text) in host.folders.texts()? {
            let state = host.bus.state(&files::service(&name)).await;
            if matches!(state.as_deref(), Ok("active" | "activating" | "reloading")) {
                host.units.insert(name.clone(), Unit::default());
                running.push((name, text));
            }
        }
        Ok((host, running))
    }

    /// Carries out orders; what fails at once is told at once. Files come first, then one reload.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn carry_out(&mut self, orders: Vec<Order>) -> Result<Vec<News>, HostError> {
        let mut news = Vec::new();
        let mut ready = Vec::new();
        for order in orders {
            match order {
                Order::Feed(unit, until) => {
                    if let Some(unit) = self.units.get_mut(&unit) {
                        unit.until = unit.until.max(Some(until));
                    }
                }
                Order::Start {
                    number,
                    unit,
                    text,
                    until,
                    ..
                } => {
                    if let Err(error) = self.folders.write(&unit, &text) {
                        eprintln!("<3>{unit}: {error}");
                        news.push((unit, Heard::Ended, number));
                        continue;
                    }
                    let known = self.units.entry(unit.clone()).or_default();
                    *known = Unit {
                        order: number,
                        until,
                        ..Unit::default()
                    };
                    ready.push(unit);
                }
                Order::Stop { number, unit } => news.extend(self.stop(unit, number).await?),
            }
        }
        if !ready.is_empty() {
            self.bus
                .reload()
                .await
                .map_err(|source| self.failed(source))?;
        }
        for unit in ready {
            news.extend(self.start(unit).await?);
        }
        Ok(news)
    }

    fn failed(&self, source: zbus::Error) -> HostError {
        HostError::Bus {
            at: self.at.clone(),
            source,
        }
    }

    async fn start(&mut self, unit: UnitName) -> Result<Option<News>, HostError> {
        let job = self.bus.job("StartUnit", &files::service(&unit)).await;
        self.queued(unit, job)
    }

    async fn stop(&mut self, unit: UnitName, number: u64) -> Result<Option<News>, HostError> {
        let known = self.units.entry(unit.clone()).or_default();
        known.order = number;
        known.until = None;
        let job = self.bus.job("StopUnit", &files::service(&unit)).await;
        self.queued(unit, job)
    }

    /// What systemd refuses, it has not done: the unit is not there, so it does not run.
    fn queued(
        &mut self,
        unit: UnitName,
        job: Result<String, zbus::Error>,
    ) -> Result<Option<News>, HostError> {
        let Some(known) = self.units.get_mut(&unit) else {
            return Ok(None);
        };
        match job {
            Ok(job) => known.job = Some(job),
            Err(zbus::Error::MethodError(name, text, _)) => {
                let text = text.unwrap_or_default();
                eprintln!("<4>{unit}: {}: {text}", name.as_str());
                return Ok(Some((unit.clone(), Heard::Ended, known.order)));
            }
            Err(source) => return Err(self.failed(source)),
        }
        Ok(None)
    }

    /// Waits until something happens here; nothing is lost when the wait is given up.
    pub async fn happens(&mut self, now: Duration) -> Happened {
        let deadline = self.units.values().filter_map(|unit| unit.until).min();
        let wait = deadline.map_or(Duration::MAX, |until| until.saturating_sub(now));
        match tokio::time::timeout(wait, self.signals.recv()).await {
            Ok(Some(signal)) => Happened(What::Signal(signal)),
            Ok(None) => Happened(What::Gone),
            Err(_) => Happened(What::Deadline(now + wait)),
        }
    }

    /// What became of the fleet's units by it.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn news(&mut self, happened: Happened) -> Result<Vec<News>, HostError> {
        let signal = match happened.0 {
            What::Signal(signal) => signal,
            What::Deadline(now) => return self.starve(now).await,
            What::Gone => {
                let text = "the connection ended".to_owned();
                return Err(self.failed(zbus::Error::Failure(text)));
            }
        };
        let Some(unit) = self.concerned(&signal) else {
            return Ok(Vec::new());
        };
        Ok(self.look(unit).await?.into_iter().collect())
    }

    fn concerned(&mut self, signal: &Signal) -> Option<UnitName> {
        match signal {
            Signal::JobRemoved { job, service } => {
                let mut units = self.units.iter_mut();
                let (name, known) = units.find(|(name, _)| files::service(name) == *service)?;
                if known.job.as_ref() == Some(job) {
                    known.job = None;
                }
                Some(name.clone())
            }
            Signal::Changed { service } => {
                let mut names = self.units.keys();
                names.find(|name| files::service(name) == *service).cloned()
            }
        }
    }

    async fn look(&mut self, unit: UnitName) -> Result<Option<News>, HostError> {
        let state = self.bus.state(&files::service(&unit)).await;
        let state = match state {
            Ok(state) => state,
            // It is not even loaded any more.
            Err(zbus::Error::MethodError(..)) => "inactive".to_owned(),
            Err(source) => return Err(self.failed(source)),
        };
        let Some(known) = self.units.get_mut(&unit) else {
            return Ok(None);
        };
        let order = known.order;
        let heard = match state.as_str() {
            "active" | "reloading" => Heard::Runs,
            // A job that waits has yet to change what is seen.
            "inactive" | "failed" if known.job.is_none() => {
                if known.starved {
                    Heard::Starved
                } else {
                    Heard::Ended
                }
            }
            _ => return Ok(None),
        };
        if heard != Heard::Runs {
            known.until = None;
            known.starved = false;
            self.folders.remove(&unit);
        }
        Ok(Some((unit, heard, order)))
    }

    /// Strict units that nobody fed are stopped.
    async fn starve(&mut self, now: Duration) -> Result<Vec<News>, HostError> {
        let over = |unit: &Unit| unit.until.is_some_and(|until| until <= now);
        let over = self.units.iter().filter(|(_, unit)| over(unit));
        let names: Vec<UnitName> = over.map(|(name, _)| name.clone()).collect();
        let mut news = Vec::new();
        for name in names {
            let Some(known) = self.units.get_mut(&name) else {
                continue;
            };
            eprintln!("<4>{name}: stopped, since the cluster was not reached in time");
            known.until = None;
            known.starved = true;
            let job = self.bus.job("StopUnit", &files::service(&name)).await;
            news.extend(self.queued(name, job)?);
        }
        Ok(news)
    }
}
