//! The units of this machine: what the host runs against what is placed, and the orders in between.
//!
//! It starts nothing while something still stops: whoever comes may be kept apart from whoever leaves.

use super::runs;
use crate::store::Revision;
use crate::unit::Options;
use crate::unit::options::OnDisconnect;
use formats::fleet::{PlacedRecord, StatusRecord, UnitName};
use std::collections::BTreeMap;
use std::time::Duration;

/// An order to the host; its answers carry the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Write the unit's file and start it. A strict one is killed at this time unless it is fed.
    Start {
        /// Of this order.
        number: u64,
        /// The unit.
        unit: UnitName,
        /// Its file.
        text: String,
        /// The fencing token: larger than that of any earlier placement.
        token: Revision,
        /// On the host's monotonic clock.
        until: Option<Duration>,
    },
    /// Stop it and remove its file.
    Stop {
        /// Of this order.
        number: u64,
        /// The unit.
        unit: UnitName,
    },
    /// A strict unit may live until this time.
    Feed(UnitName, Duration),
}

/// What a host tells of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It runs.
    Runs,
    /// It ended, by itself or as ordered.
    Ended,
    /// Its watchdog ended it, since nobody fed it (systemd's `Result=watchdog`).
    Starved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Is {
    #[default]
    Stopped,
    Starting,
    Running,
    Stopping,
}

#[derive(Debug, Clone, Default)]
struct Known {
    is: Is,
    /// Number of the last order: answers to earlier ones are old news.
    order: u64,
    /// What it was last started as.
    started: Option<String>,
    on_disconnect: OnDisconnect,
    /// Ordered to start since the last tick: most run a moment later, and are told once.
    fresh: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Local {
    units: BTreeMap<UnitName, Known>,
    orders: u64,
}

impl Local {
    /// Of a host on which these run, from these files.
    #[must_use]
    pub fn new(running: &[(UnitName, String)]) -> Self {
        let known = |(name, text): &(UnitName, String)| {
            let known = Known {
                is: Is::Running,
                order: 0,
                started: Some(text.clone()),
                on_disconnect: on_disconnect(name, text),
                fresh: false,
            };
            (name.clone(), known)
        };
        Self {
            units: running.iter().map(known).collect(),
            orders: 0,
        }
    }

    /// Orders are numbered from here.
    pub(super) fn number_from(&mut self, number: u64) {
        self.orders = number;
    }

    /// Time has passed: what still starts is told.
    pub(super) fn tick(&mut self) {
        self.units
            .values_mut()
            .for_each(|known| known.fresh = false);
    }

    /// The host tells of a unit, after it carried out this order.
    pub fn host(&mut self, name: UnitName, heard: Heard, order: u64) {
        let known = self.units.entry(name).or_default();
        if order >= known.order {
            known.is = match (heard, known.is) {
                (Heard::Runs, Is::Stopping) => Is::Stopping,
                (Heard::Runs, _) => Is::Running,
                (Heard::Ended | Heard::Starved, _) => Is::Stopped,
            };
            if heard == Heard::Starved {
                // It did not end by itself: it starts anew when the cluster is back.
                known.started = None;
            }
        }
    }

    /// A placement came.
    pub fn learn(&mut self, name: &UnitName, record: &PlacedRecord) {
        if let PlacedRecord::Here { text, .. } = record {
            let known = self.units.entry(name.clone()).or_default();
            known.on_disconnect = on_disconnect(name, text);
        }
    }

    /// What a unit does when its machine is cut off.
    #[must_use]
    pub fn on_disconnect(&self, name: &UnitName) -> Option<OnDisconnect> {
        self.units.get(name).map(|known| known.on_disconnect)
    }

    /// The orders that bring the host to what is placed.
    pub fn orders(
        &mut self,
        placed: &BTreeMap<UnitName, (PlacedRecord, Revision)>,
        fed_until: Option<Duration>,
        now: Duration,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        for (name, known) in &mut self.units {
            let wanted = placed.get(name).is_some_and(|(record, _)| runs(record));
            if known.is == Is::Stopped && !wanted {
                // What ended by itself starts anew when it is wanted anew.
                known.started = None;
            }
            let keeps = placed
                .get(name)
                .is_some_and(|(record, _)| known.serves(record));
            if matches!(known.is, Is::Running | Is::Starting) && !keeps {
                self.orders += 1;
                known.is = Is::Stopping;
                known.order = self.orders;
                known.started = None;
                let (number, unit) = (self.orders, name.clone());
                orders.push(Order::Stop { number, unit });
            }
        }
        if !self.units.values().any(|known| known.is == Is::Stopping) {
            self.starts(placed, fed_until, now, &mut orders);
        }
        orders
    }

    fn starts(
        &mut self,
        placed: &BTreeMap<UnitName, (PlacedRecord, Revision)>,
        fed_until: Option<Duration>,
        now: Duration,
        orders: &mut Vec<Order>,
    ) {
        for (name, (record, revision)) in placed {
            let (PlacedRecord::Here { text, .. }, true) = (record, runs(record)) else {
                continue;
            };
            let known = self.units.entry(name.clone()).or_default();
            let until = known.until(fed_until);
            if until.is_some_and(|until| until <= now) {
                continue;
            }
            let again = known.started.as_ref().is_some_and(|t| t == text);
            if known.is != Is::Stopped || again {
                continue;
            }
            self.orders += 1;
            known.is = Is::Starting;
            known.fresh = true;
            known.order = self.orders;
            known.started = Some(text.clone());
            orders.push(Order::Start {
                number: self.orders,
                unit: name.clone(),
                text: text.clone(),
                token: *revision,
                until,
            });
        }
    }

    /// What etcd has to be told: a status, or that there is none any more.
    #[must_use]
    pub fn news(
        &self,
        placed: &BTreeMap<UnitName, (PlacedRecord, Revision)>,
        told: &BTreeMap<UnitName, StatusRecord>,
    ) -> Vec<(UnitName, Option<StatusRecord>)> {
        let mut news = Vec::new();
        let waits = |known: &Known| known.is == Is::Starting && known.fresh;
        for (name, known) in self.units.iter().filter(|(_, known)| !waits(known)) {
            let revision = placed.get(name).map(|(_, revision)| *revision);
            let status = known.status(revision);
            if status.as_ref() != told.get(name) {
                news.push((name.clone(), status));
            }
        }
        let unknown =
            |name: &&UnitName| !self.units.contains_key(*name) && !placed.contains_key(*name);
        news.extend(told.keys().filter(unknown).map(|name| (name.clone(), None)));
        let silent = placed
            .iter()
            .filter(|(name, _)| !self.units.contains_key(*name));
        for (name, (_, revision)) in silent {
            let status = Known::default().status(Some(*revision));
            if status.as_ref() != told.get(name) {
                news.push((name.clone(), status));
            }
        }
        news
    }
}

fn on_disconnect(name: &UnitName, text: &str) -> OnDisconnect {
    // What does not parse was refused before it was placed.
    Options::parse(name, text).unwrap_or_default().on_disconnect
}

impl Known {
    /// Whether what runs is what the placement wants.
    fn serves(&self, record: &PlacedRecord) -> bool {
        let PlacedRecord::Here { text, .. } = record else {
            return false;
        };
        runs(record) && self.started.as_ref().is_some_and(|started| started == text)
    }

    /// Until when it may run; none is for ever, zero is not at all.
    fn until(&self, fed_until: Option<Duration>) -> Option<Duration> {
        match self.on_disconnect {
            OnDisconnect::Keep => None,
            OnDisconnect::StopAfter(time) => {
                Some(fed_until.map_or(Duration::ZERO, |fed| fed + time))
            }
        }
    }

    fn status(&self, revision: Option<Revision>) -> Option<StatusRecord> {
        let running = self.is != Is::Stopped;
        if !running && revision.is_none() {
            return None;
        }
        let (active, sub) = match self.is {
            Is::Stopped => ("inactive", "dead"),
            Is::Starting => ("activating", "start"),
            Is::Running => ("active", "running"),
            Is::Stopping => ("deactivating", "stop"),
        };
        Some(StatusRecord {
            revision: revision.unwrap_or_default(),
            running,
            active: active.to_owned(),
            sub: sub.to_owned(),
        })
    }
}
