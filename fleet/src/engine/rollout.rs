//! A changed text goes round a template's instances: some at a time, each has to run for a while, and
//! when one does not, all have the text again that ran before.
//!
//! What was seen when is this engine's own memory: one that leads anew gives every instance its time
//! again. It changes nothing but the template's text and the record of the change.

use super::mirror::{At, Mirror};
use crate::store::{Compare, Revision, Write};
use crate::unit::Unit;
use formats::fleet::{Desired, Key, PlacedRecord, RolloutRecord, UnitName, UnitRecord, encode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone)]
struct Seen {
    placed: Revision,
    first: Duration,
    active: Option<Duration>,
}

/// What was seen of instances that are being changed.
#[derive(Debug, Clone, Default)]
pub struct Pace(BTreeMap<UnitName, Seen>);

/// What a round may do about changes that go round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Instances of templates that change; they keep their text …
    pub held: BTreeSet<UnitName>,
    /// … but for these.
    pub next: BTreeSet<UnitName>,
    /// Changes that are done, or come back.
    pub changes: Vec<(Vec<Compare>, Write)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Old,
    /// With the new text, and not long enough.
    Fresh,
    Settled,
    Failed,
}

/// Templates whose text goes round now.
fn rolling(mirror: &Mirror) -> impl Iterator<Item = (&UnitName, &At<RolloutRecord>)> {
    let all = mirror.rollouts.iter();
    all.filter(|(_, at)| at.value.returned.is_none())
}

impl Pace {
    /// Whether time alone can change something.
    #[must_use]
    pub fn is_busy(mirror: &Mirror) -> bool {
        rolling(mirror).next().is_some()
    }

    /// Looks at what is, and judges.
    pub fn judge(&mut self, mirror: &Mirror, now: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        let mut seen = BTreeMap::new();
        for (template, record) in rolling(mirror) {
            let Some(unit) = mirror.units.get(template) else {
                verdict.changes.push(done(template, record));
                continue;
            };
            let counted = mirror.counted.iter().filter(|(_, of)| *of == template);
            let mut stands = Vec::new();
            for (name, _) in counted {
                verdict.held.insert(name.clone());
                if let Some((is, active, new)) = self.look(mirror, name, &unit.value, now) {
                    stands.push((name, is, active));
                    seen.insert(name.clone(), new);
                }
            }
            if let Some((name, ..)) = stands.iter().find(|(_, is, _)| *is == Is::Failed) {
                verdict.changes.extend(back(template, record, unit, name));
            } else if stands.iter().all(|(_, is, _)| *is == Is::Settled)
                || unit.value.0.desired != Desired::Launched
            {
                verdict.changes.push(done(template, record));
            } else {
                let how = unit.value.1.options.rollout;
                let down = stands
                    .iter()
                    .filter(|(_, is, active)| !active || *is == Is::Fresh);
                let room = (how.unavailable as usize).saturating_sub(down.count());
                // One that is down anyway costs nothing.
                let mut old: Vec<_> = stands.iter().filter(|(_, is, _)| *is == Is::Old).collect();
                old.sort_by_key(|(_, _, active)| *active);
                let free = |(_, _, active): &&&(&UnitName, Is, bool)| !active;
                let broken = old.iter().filter(free).count();
                let next = old
                    .iter()
                    .take(room.max(broken.min(1)).min(how.batch as usize));
                verdict.next.extend(next.map(|(name, ..)| (*name).clone()));
            }
        }
        self.0 = seen;
        verdict
    }

    fn look(
        &self,
        mirror: &Mirror,
        name: &UnitName,
        (wanted, unit): &(UnitRecord, Unit),
        now: Duration,
    ) -> Option<(Is, bool, Seen)> {
        let mut places = mirror.placed.get(name)?.iter();
        let (id, at, text) = places.find_map(|(id, at)| match &at.value {
            PlacedRecord::Here { text, .. } => Some((id, at, text)),
            PlacedRecord::Leaving => None,
        })?;
        let status = mirror.status.get(&(name.clone(), id.clone()));
        let active =
            status.is_some_and(|s| s.running && s.active == "active" && s.revision >= at.modified);
        let known = self.0.get(name).filter(|seen| seen.placed == at.modified);
        let mut new = known.cloned().unwrap_or(Seen {
            placed: at.modified,
            first: now,
            active: None,
        });
        let how = unit.options.rollout;
        let was = new.active;
        new.active = if active { was.or(Some(now)) } else { None };
        let since = |at: Duration| now.saturating_sub(at);
        let over = since(new.first) >= how.wait;
        let gone = ended(mirror, name, at.modified) && since(new.first) >= how.settle;
        let is = if *text != wanted.text {
            Is::Old
        } else if !active && (was.is_some() || over || gone) {
            Is::Failed
        } else if new.active.is_some_and(|at| since(at) >= how.settle) {
            Is::Settled
        } else {
            Is::Fresh
        };
        Some((is, active, new))
    }
}

/// Its machine says that nothing of it runs, as it is placed now.
fn ended(mirror: &Mirror, name: &UnitName, placed: Revision) -> bool {
    let places = mirror.placed.get(name).into_iter().flatten();
    let mut said = places.filter_map(|(id, _)| mirror.status.get(&(name.clone(), id.clone())));
    said.any(|s| !s.running && s.revision >= placed)
}

type Change = (Vec<Compare>, Write);

fn done(template: &UnitName, record: &At<RolloutRecord>) -> Change {
    let key = Key::Rollout(template.clone());
    let when = vec![Compare::Modified(key.clone(), record.modified)];
    (when, Write::Delete(key))
}

/// The text that ran before, and why.
fn back(
    template: &UnitName,
    record: &At<RolloutRecord>,
    unit: &At<(UnitRecord, Unit)>,
    failed: &UnitName,
) -> [Change; 2] {
    let (key, text) = (Key::Rollout(template.clone()), Key::Unit(template.clone()));
    let when = || {
        vec![
            Compare::Modified(key.clone(), record.modified),
            Compare::Modified(text.clone(), unit.modified),
        ]
    };
    let put = |key: &Key, value| Write::Put {
        key: key.clone(),
        value,
        lease: None,
    };
    let returned = RolloutRecord {
        good: record.value.good.clone(),
        returned: Some(format!("{failed} did not run with the new text")),
    };
    let good = UnitRecord {
        desired: unit.value.0.desired,
        text: record.value.good.clone(),
    };
    [
        (when(), put(&text, encode(&good))),
        (when(), put(&key, encode(&returned))),
    ]
}
