//! The health gate: whether the units that ran before run again, as a value.
//!
//! It asks nobody and waits for nobody: lines of the engine and moments come in, a verdict comes out.
//! A unit that nobody expected never fails it; an engine that says nothing always does.

pub mod engine;
pub mod probes;

use formats::health::{Active, Health, Line, UnitHealth};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// For how long everything must stay healthy.
pub const SETTLE: Duration = Duration::from_secs(5);

/// What is judged.
#[derive(Debug, Clone)]
pub struct Gate {
    expected: BTreeSet<String>,
    deadline: Duration,
    units: BTreeMap<String, UnitHealth>,
    probed: BTreeMap<String, Result<(), String>>,
    connected: bool,
    synced: bool,
    good_since: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The expected units are healthy.
    Passed(Vec<String>),
    /// Why not, at the deadline.
    Failed(String),
}

impl Gate {
    /// Judges until `deadline`, a moment of the clock that comes with the rest. No unit expected: the
    /// engine must tell its units' health, and that of one that stays up.
    #[must_use]
    pub fn new(expected: &[String], deadline: Duration) -> Self {
        Self {
            expected: expected.iter().cloned().collect(),
            deadline,
            units: BTreeMap::new(),
            probed: BTreeMap::new(),
            connected: false,
            synced: false,
            good_since: None,
        }
    }

    /// The engine said something.
    pub fn take(&mut self, line: Line, now: Duration) {
        match line {
            Line::Hello { .. } => {
                self.lost();
                self.connected = true;
            }
            Line::Synced => self.synced = true,
            Line::Unit(unit) => {
                let before = self.units.insert(unit.unit.clone(), unit.clone());
                let restarted = before.is_some_and(|b| b.restarts != unit.restarts);
                if restarted && self.expected.contains(&unit.unit) {
                    self.good_since = None;
                }
            }
            Line::Gone { unit } => drop(self.units.remove(&unit)),
        }
        self.look(now);
    }

    /// What is expected besides units, see [`probes`].
    pub fn probes(&self) -> impl Iterator<Item = &String> {
        self.expected.iter().filter(|name| probes::is_probe(name))
    }

    /// One of them was measured.
    pub fn probed(&mut self, name: &str, found: Result<(), String>, now: Duration) {
        self.probed.insert(name.to_owned(), found);
        self.look(now);
    }

    /// The engine is gone: what it said does not count any more.
    pub fn lost(&mut self) {
        self.connected = false;
        self.synced = false;
        self.units.clear();
        self.good_since = None;
    }

    /// The verdict, once there is one.
    pub fn verdict(&mut self, now: Duration) -> Option<Verdict> {
        self.look(now);
        if self.good_since.is_some_and(|at| now >= at + SETTLE) {
            return Some(Verdict::Passed(self.expected.iter().cloned().collect()));
        }
        (now >= self.deadline).then(|| Verdict::Failed(self.complaint()))
    }

    /// When there is a verdict even if the engine says nothing more.
    #[must_use]
    pub fn due(&self) -> Duration {
        let settled = self.good_since.map(|at| at + SETTLE);
        settled.map_or(self.deadline, |at| at.min(self.deadline))
    }

    fn look(&mut self, now: Duration) {
        let good = self.synced && self.expected.iter().all(|name| self.is_healthy(name));
        self.good_since = match good {
            true => self.good_since.or(Some(now)),
            false => None,
        };
    }

    fn is_healthy(&self, name: &str) -> bool {
        if probes::is_probe(name) {
            return self.probed.get(name).is_some_and(Result::is_ok);
        }
        self.units.get(name).is_some_and(UnitHealth::is_healthy)
    }

    /// One line for people.
    fn complaint(&self) -> String {
        if !self.synced {
            return match self.connected {
                true => "the engine does not tell its units' health".into(),
                false => "the engine does not answer".into(),
            };
        }
        let ill = self.expected.iter().filter(|name| !self.is_healthy(name));
        let told = ill.map(|name| match (self.units.get(name), self.probed.get(name)) {
            (Some(unit), _) => format!("{name}: {}", told(unit)),
            (None, Some(Err(text))) => format!("{name}: {text}"),
            (None, _) if probes::is_probe(name) => format!("{name}: not measured"),
            (None, _) => format!("{name}: unknown to the engine"),
        });
        let told: Vec<_> = told.take(8).collect();
        match told.is_empty() {
            true => "the units did not stay healthy".into(),
            false => told.join("; "),
        }
    }
}

fn told(unit: &UnitHealth) -> String {
    let active = match unit.active {
        Active::Active => "active",
        Active::Activating => "not up",
        Active::Deactivating => "going down",
        Active::Inactive => "down",
        Active::Failed => "failed",
    };
    let health = match unit.health {
        Health::Starting => ", not yet judged",
        Health::Unhealthy => ", unhealthy",
        Health::Unchecked | Health::Healthy => "",
    };
    match unit.restarts {
        0 => format!("{active}{health}"),
        n => format!("{active}{health}, restarted {n} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::health::{FORMAT, Origin};

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn unit(name: &str, active: Active, restarts: u32) -> Line {
        Line::Unit(UnitHealth {
            unit: name.into(),
            origin: Origin::Local,
            active,
            health: Health::Unchecked,
            restarts,
            since_us: 0,
        })
    }

    fn hello() -> Line {
        Line::Hello {
            format: FORMAT,
            boot_id: "b".into(),
        }
    }

    fn gate(expected: &[&str], lines: Vec<Line>) -> Gate {
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        let mut gate = Gate::new(&expected, seconds(60));
        for line in lines {
            gate.take(line, seconds(10));
        }
        gate
    }

    #[test]
    fn units_that_stay_healthy_pass_and_strangers_do_not_matter() {
        let lines = vec![
            hello(),
            unit("web.service", Active::Active, 0),
            unit("new.service", Active::Failed, 9),
            Line::Synced,
        ];
        let mut gate = gate(&["web.service"], lines);
        assert_eq!(gate.verdict(seconds(14)), None);
        assert_eq!(gate.due(), seconds(15));
        let passed = Some(Verdict::Passed(vec!["web.service".into()]));
        assert_eq!(gate.verdict(seconds(15)), passed);
    }

    #[test]
    fn a_unit_that_comes_and_goes_is_not_healthy() {
        let up = |n| unit("web.service", Active::Active, n);
        let mut gate = gate(&["web.service"], vec![hello(), up(0), Line::Synced]);
        gate.take(up(1), seconds(14));
        assert_eq!(gate.verdict(seconds(18)), None);
        gate.take(unit("web.service", Active::Failed, 2), seconds(18));
        let failed = Verdict::Failed("web.service: failed, restarted 2 times".into());
        assert_eq!(gate.verdict(seconds(59)), None);
        assert_eq!(gate.verdict(seconds(60)), Some(failed));
    }

    #[test]
    fn an_engine_that_is_silent_fails_a_machine_without_units_too() {
        let mut silent = gate(&[], Vec::new());
        let text = |gate: &mut Gate| match gate.verdict(seconds(60)) {
            Some(Verdict::Failed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(&mut silent), "the engine does not answer");
        let mut half = gate(&[], vec![hello()]);
        assert_eq!(
            text(&mut half),
            "the engine does not tell its units' health"
        );
        let mut whole = gate(&[], vec![hello(), Line::Synced]);
        assert_eq!(
            whole.verdict(seconds(15)),
            Some(Verdict::Passed(Vec::new()))
        );
        let mut missing = gate(&["web.service"], vec![hello(), Line::Synced]);
        assert_eq!(text(&mut missing), "web.service: unknown to the engine");
    }

    #[test]
    fn a_network_that_is_lost_fails_whatever_the_units_say() {
        let up = unit("web.service", Active::Active, 0);
        let lines = vec![hello(), up, Line::Synced];
        let mut gate = gate(&["network", "web.service"], lines);
        assert_eq!(gate.probes().collect::<Vec<_>>(), ["network"]);
        assert_eq!(gate.verdict(seconds(40)), None);
        gate.probed("network", Err("no link has an address".into()), seconds(41));
        let failed = Verdict::Failed("network: no link has an address".into());
        assert_eq!(gate.clone().verdict(seconds(60)), Some(failed));
        gate.probed("network", Ok(()), seconds(50));
        let both = vec!["network".to_owned(), "web.service".to_owned()];
        assert_eq!(gate.verdict(seconds(55)), Some(Verdict::Passed(both)));
    }

    #[test]
    fn an_engine_that_died_has_to_say_it_again() {
        let up = unit("web.service", Active::Active, 0);
        let mut gate = gate(&["web.service"], vec![hello(), up, Line::Synced]);
        gate.lost();
        assert_eq!(gate.verdict(seconds(20)), None);
    }
}
