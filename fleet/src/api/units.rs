//! Units as the API changes them: checked before anything is stored.
//!
//! A change rests on what was read: of two who change the same unit, one is told.

use super::Service;
use super::failure::Failure;
use crate::engine::Engine;
use crate::store::{Compare, Write};
use crate::unit::Options;

use formats::fleet::{Desired, Key, MAX_VALUE, RolloutRecord, UnitName, UnitRecord, encode};

/// More than this many units are not taken.
const MOST_UNITS: usize = 50_000;

/// A name from a path.
pub(super) fn name(text: &str) -> Result<UnitName, Failure> {
    text.parse().map_err(|e| Failure::bad(format!("{e}")))
}

/// A desired state.
pub(super) fn desired(text: &str) -> Result<Desired, Failure> {
    match text {
        "inactive" => Ok(Desired::Inactive),
        "loaded" => Ok(Desired::Loaded),
        "launched" => Ok(Desired::Launched),
        other => {
            let other: String = other.chars().take(40).collect();
            Err(Failure::bad(format!(
                "expected desiredState inactive, loaded or launched, found {other:?}"
            )))
        }
    }
}

/// What is asked of one unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) text: Option<String>,
    pub(super) desired: Option<Desired>,
}

/// Creates or changes a unit; `true` if it is new.
pub(super) async fn put(service: &Service, name: UnitName, wish: Wish) -> Result<bool, Failure> {
    if let Some(text) = &wish.text {
        check(&name, text)?;
    }
    let found = service.shared.look(|engine| found(engine, &name))?;
    let (modified, before) = found;
    let Some(text) = wish
        .text
        .or_else(|| before.as_ref().map(|b| b.text.clone()))
    else {
        return Err(Failure::new(
            409,
            "unit does not exist and no options or text are given",
        ));
    };
    let fresh = before.is_none();
    let default = before.as_ref().map_or(Desired::Inactive, |b| b.desired);
    let desired = wish.desired.unwrap_or(default);
    if name.is_template() {
        template(service, &name, &text, desired)?;
    }
    let record = UnitRecord { desired, text };
    if before.as_ref() == Some(&record) {
        return Ok(false);
    }
    let key = Key::Unit(name.clone());
    let mut when = vec![Compare::Modified(key.clone(), modified)];
    let mut then = vec![Write::Put {
        key,
        value: encode(&record),
        lease: None,
    }];
    if let Some((at, write)) = rollout(service, &name, before.as_ref(), &record) {
        when.push(Compare::Modified(Key::Rollout(name), at));
        then.push(write);
    }
    if service.write(when, then).await? {
        return Ok(fresh);
    }
    Err(Failure::raced())
}

/// A changed text of instances that run goes round, and comes back to what ran before: to what the
/// last one began with, if that is not through. What the record's revision has to be, and its change.
fn rollout(
    service: &Service,
    name: &UnitName,
    before: Option<&UnitRecord>,
    after: &UnitRecord,
) -> Option<(i64, Write)> {
    let before = before.filter(|b| name.is_template() && b.text != after.text)?;
    let runs = |record: &UnitRecord| {
        let counts = || Options::parse(name, &record.text).is_ok_and(|o| o.count.is_some());
        record.desired == Desired::Launched && counts()
    };
    let known = service
        .shared
        .look(|engine| engine.mirror().rollouts.get(name).cloned());
    let at = known.as_ref().map_or(0, |known| known.modified);
    let key = Key::Rollout(name.clone());
    if !runs(before) || !runs(after) {
        return known.map(|_| (at, Write::Delete(key)));
    }
    let goes = known.filter(|known| known.value.returned.is_none());
    let good = goes.map_or_else(|| before.text.clone(), |known| known.value.good);
    let value = encode(&RolloutRecord {
        good,
        returned: None,
    });
    let lease = None;
    Some((at, Write::Put { key, value, lease }))
}

/// A template runs by its `Count=` only, and only if its instances' options can be read.
fn template(
    service: &Service,
    name: &UnitName,
    text: &str,
    desired: Desired,
) -> Result<(), Failure> {
    let count = Options::parse(name, text).ok().and_then(|o| o.count);
    let first = name.numbered(1).filter(|_| count.is_some());
    if let Some(first) = &first {
        check(first, text)?;
    } else if desired != Desired::Inactive {
        return Err(Failure::bad(format!(
            "{name} is a template: start an instance of it, like {}@1.{}, or give it a Count=",
            name.prefix(),
            name.suffix()
        )));
    }
    let others = service.shared.look(|engine| taken(engine, name));
    enough_room(others + count.unwrap_or(0) as usize)
}

/// Units that were submitted or are asked for by a `Count=`, but for those of `template`.
fn taken(engine: &Engine, template: &UnitName) -> usize {
    let mirror = engine.mirror();
    let submitted = mirror.units.len() - mirror.counted.len();
    let templates = mirror
        .units
        .iter()
        .filter(|(name, _)| name.is_template() && *name != template);
    let counts = templates.filter_map(|(_, at)| at.value.1.options.count);
    submitted + counts.map(|count| count as usize).sum::<usize>()
}

fn enough_room(units: usize) -> Result<(), Failure> {
    if units < MOST_UNITS {
        return Ok(());
    }
    let text = format!("expected at most {MOST_UNITS} units: destroy some first");
    Err(Failure::new(403, text))
}

type Found = (i64, Option<UnitRecord>);

fn found(engine: &Engine, name: &UnitName) -> Result<Found, Failure> {
    if !engine.knows() {
        return Err(Failure::new(
            503,
            "this engine cannot reach etcd now: units run on, try again",
        ));
    }
    let mirror = engine.mirror();
    if let Some(template) = mirror.counted.get(name) {
        let text = format!("{name} is one of the Count= of {template}: change that one");
        return Err(Failure::new(409, text));
    }
    if let Some(unit) = mirror.units.get(name) {
        return Ok((unit.modified, Some(unit.value.0.clone())));
    }
    enough_room(taken(engine, name))?;
    Ok((0, None))
}

fn check(name: &UnitName, text: &str) -> Result<(), Failure> {
    if text.len() > MAX_VALUE / 2 {
        let (most, found) = (MAX_VALUE / 2, text.len());
        return Err(Failure::new(
            413,
            format!("expected a unit of at most {most} bytes, found {found}"),
        ));
    }
    let control = |c: char| c.is_control() && c != '\n' && c != '\t' && c != '\r';
    if text.contains(control) {
        return Err(Failure::bad(
            "expected a unit file, found control characters in it",
        ));
    }
    Options::parse(name, text).map(drop).map_err(|problems| {
        let lines = problems
            .iter()
            .map(|p| format!("line {}: {}", p.line, p.message));
        Failure::bad(lines.collect::<Vec<_>>().join("\n"))
    })
}

/// Removes a unit.
pub(super) async fn destroy(service: &Service, name: &UnitName) -> Result<(), Failure> {
    let (modified, before) = service.shared.look(|engine| found(engine, name))?;
    if before.is_none() {
        return Err(Failure::new(404, "unit does not exist"));
    }
    let key = Key::Unit(name.clone());
    let when = vec![Compare::Modified(key.clone(), modified)];
    let mut then = vec![Write::Delete(key)];
    if name.is_template() {
        then.push(Write::Delete(Key::Rollout(name.clone())));
    }
    if service.write(when, then).await? {
        return Ok(());
    }
    Err(Failure::raced())
}
