//! A host: it runs units, takes a while to start and stop them, and kills a strict unit that nobody
//! feeds, whatever its agent does.
//!
//! Its clock may run up to a tenth too fast or too slow.

use crate::agent::{Heard, Order};
use crate::sim::Chance;
use formats::fleet::UnitName;
use std::collections::BTreeMap;
use std::time::Duration;

/// What it takes to start or stop a unit, in milliseconds.
const TAKES: (u64, u64) = (20, 2_000);

/// A unit that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// The text that it was started from.
    pub text: String,
    /// When the watchdog kills it, on the host's clock.
    until: Option<Duration>,
    order: u64,
}

/// What a host is about to do.
#[derive(Debug, Clone)]
enum Soon {
    Start(UnitName, Running),
    Stop(UnitName, u64),
}

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// How fast its clock runs, in thousandths.
    pub rate: u64,
    /// What runs.
    pub running: BTreeMap<UnitName, Running>,
    /// How often each unit ended while the power was on.
    pub ended: BTreeMap<UnitName, u64>,
    soon: Vec<(Duration, Soon)>,
}

/// A unit started or ended, after the order of this number.
pub type News = (UnitName, Heard, u64);

impl Host {
    /// An empty one.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self {
            rate,
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            soon: Vec::new(),
        }
    }

    /// What its clock says at a moment of the world's.
    #[must_use]
    pub fn clock(&self, now: Duration) -> Duration {
        now * u32::try_from(self.rate).unwrap_or(1000) / 1000
    }

    /// What runs or is about to: systemd lists a unit as soon as its job is queued.
    #[must_use]
    pub fn units(&self) -> Vec<(UnitName, String)> {
        let starting = self.soon.iter().filter_map(|(_, soon)| match soon {
            Soon::Start(unit, running) => Some((unit, running)),
            Soon::Stop(..) => None,
        });
        let all: BTreeMap<_, _> = self.running.iter().chain(starting).collect();
        all.into_iter()
            .map(|(name, running)| (name.clone(), running.text.clone()))
            .collect()
    }

    /// Power is cut.
    pub fn die(&mut self) {
        self.running.clear();
        self.soon.clear();
    }

    /// Takes an order.
    pub fn order(&mut self, order: Order, now: Duration, chance: &mut Chance) {
        let at = now + chance.millis(TAKES.0, TAKES.1);
        match order {
            Order::Start {
                number,
                unit,
                text,
                until,
                ..
            } => {
                let running = Running {
                    text,
                    until,
                    order: number,
                };
                self.soon.push((at, Soon::Start(unit, running)));
            }
            Order::Stop { number, unit } => {
                // As systemd does: a queued start of the same unit is cancelled.
                let start = |soon: &Soon| matches!(soon, Soon::Start(name, _) if *name == unit);
                self.soon.retain(|(_, soon)| !start(soon));
                self.soon.push((at, Soon::Stop(unit, number)));
            }
            Order::Feed(unit, until) => {
                if let Some(unit) = self.running.get_mut(&unit) {
                    unit.until = unit.until.max(Some(until));
                }
                for (_, soon) in &mut self.soon {
                    if let Soon::Start(name, running) = soon
                        && *name == unit
                    {
                        running.until = running.until.max(Some(until));
                    }
                }
            }
        }
    }

    /// Does what is due; returns what its agent is told.
    pub fn work(&mut self, now: Duration) -> Vec<News> {
        let clock = self.clock(now);
        let mut news = Vec::new();
        self.soon.sort_by_key(|(at, _)| *at);
        while self.soon.first().is_some_and(|(at, _)| *at <= now) {
            match self.soon.remove(0).1 {
                // Its time is over before it began: systemd's start would fail.
                Soon::Start(unit, running) if running.until.is_some_and(|until| until <= clock) => {
                    news.push((unit, Heard::Starved, running.order));
                }
                Soon::Start(unit, running) => {
                    news.push((unit.clone(), Heard::Runs, running.order));
                    self.running.insert(unit, running);
                }
                Soon::Stop(unit, order) => {
                    self.running.remove(&unit);
                    news.push((unit, Heard::Ended, order));
                }
            }
        }
        let over = |r: &Running| r.until.is_some_and(|until| until <= clock);
        let killed: Vec<_> = self.running.iter().filter(|(_, r)| over(r)).collect();
        news.extend(
            killed
                .into_iter()
                .map(|(name, r)| (name.clone(), Heard::Starved, r.order)),
        );
        self.running.retain(|_, r| !over(r));
        for (unit, heard, _) in &news {
            if *heard != Heard::Runs {
                *self.ended.entry(unit.clone()).or_default() += 1;
            }
        }
        news
    }
}
