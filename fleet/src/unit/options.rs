//! The `[X-Fleet]` section: fleet's options and what its users asked for beside them.
//!
//! Other sections are the host's; they only have to be a unit file's syntax.

use super::requirement::Requirement;
use super::resources::Demand;
use super::rollout::Rollout;
use super::{UnitName, specifier};
use crate::machine::MachineId;
use formats::unit_file::{self, Entry, Problem, words};
use glob::Pattern;
use std::time::Duration;

/// Every key of the section.
pub const KEYS: [&str; 12] = [
    "MachineID",
    "MachineOf",
    "MachineMetadata",
    "Conflicts",
    "Replaces",
    "Global",
    "Spread",
    "Resources",
    "Priority",
    "OnDisconnect",
    "Count",
    "Rollout",
];

/// What fleet called some of them before; still taken.
const FORMER: [(&str, &str); 4] = [
    ("X-ConditionMachineID", "MachineID"),
    ("X-ConditionMachineOf", "MachineOf"),
    ("X-ConditionMachineMetadata", "MachineMetadata"),
    ("X-Conflicts", "Conflicts"),
];

/// Instances that `Count=` may ask for at most.
pub const MOST_INSTANCES: u32 = 10_000;

/// What a unit does when its machine cannot reach the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// It runs on; after the machine is given up it may run twice.
    #[default]
    Keep,
    /// Its machine stops it after this long, so that it never runs twice.
    StopAfter(Duration),
}

/// The section, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// The one machine that may run it.
    pub machine: Option<MachineId>,
    /// Units on whose machine it has to be.
    pub beside: Vec<UnitName>,
    /// What its machine's metadata must say.
    pub metadata: Vec<Requirement>,
    /// Units that may not be on its machine.
    pub conflicts: Vec<Pattern>,
    /// Units that leave the machine that it comes to.
    pub replaces: Vec<Pattern>,
    /// One on every machine that suits.
    pub global: bool,
    /// Metadata key over whose values its siblings are spread evenly.
    pub spread: Option<String>,
    /// What it needs.
    pub demand: Demand,
    /// Higher ones are placed first, and may displace lower ones that take their resources.
    pub priority: i32,
    /// What it does when its machine is cut off.
    pub on_disconnect: OnDisconnect,
    /// For a template: how many instances there shall be.
    pub count: Option<u32>,
    /// For a template: how a changed text goes round its instances.
    pub rollout: Rollout,
}

impl Options {
    /// Reads the section of a unit's text.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line.
    pub fn parse(name: &UnitName, text: &str) -> Result<Self, Vec<Problem>> {
        let (entries, mut problems) = unit_file::parse(text);
        let mut options = Self::default();
        for entry in entries.iter().filter(|entry| entry.section == "X-Fleet") {
            if let Err(message) = options.assign(name, entry) {
                problems.push(Problem::new(entry.line, message));
            }
        }
        if problems.is_empty() {
            let wrong = options.contradiction(name);
            problems.extend(wrong.map(|message| Problem::new(0, message)));
        }
        if problems.is_empty() {
            Ok(options)
        } else {
            Err(problems)
        }
    }

    fn assign(&mut self, name: &UnitName, entry: &Entry) -> Result<(), String> {
        let key = current(&entry.key);
        let said = |message: String| format!("{key}=: {message}");
        // A template's own values may name an instance that only its instances have.
        if name.is_template() && !["Count", "Rollout"].contains(&key) {
            return known(key);
        }
        let value = specifier::expand(&entry.value, name).map_err(said)?;
        let words = words::split(&value).map_err(said)?;
        self.take(key, &value, &words).map_err(|message| {
            if KEYS.contains(&key) {
                said(message)
            } else {
                message
            }
        })
    }

    fn take(&mut self, key: &str, value: &str, words: &[String]) -> Result<(), String> {
        match key {
            "MachineID" => self.machine = Some(value.parse().map_err(|e| format!("{e}"))?),
            "MachineOf" => {
                for word in words {
                    self.beside.push(word.parse().map_err(|e| format!("{e}"))?);
                }
            }
            "MachineMetadata" => {
                for word in words {
                    self.metadata.push(Requirement::parse(word)?);
                }
            }
            "Conflicts" => patterns(&mut self.conflicts, words)?,
            "Replaces" => patterns(&mut self.replaces, words)?,
            "Global" => self.global = boolean(value)?,
            "Spread" => self.spread = Some(one(words, "a metadata key")?.to_owned()),
            "Resources" => words.iter().try_for_each(|word| self.demand.word(word))?,
            "Priority" => self.priority = priority(value)?,
            "OnDisconnect" => self.on_disconnect = on_disconnect(words)?,
            "Count" => self.count = Some(count(value)?),
            "Rollout" => words.iter().try_for_each(|word| self.rollout.word(word))?,
            other => known(other)?,
        }
        Ok(())
    }

    /// Options that exclude each other, as fleet's API refused them.
    fn contradiction(&self, name: &UnitName) -> Option<String> {
        let here = [
            ("MachineID", self.machine.is_some()),
            ("MachineOf", !self.beside.is_empty()),
            ("Conflicts", !self.conflicts.is_empty()),
            ("Replaces", !self.replaces.is_empty()),
            ("Global", self.global),
            ("Spread", self.spread.is_some()),
        ];
        let given = |key: &str| here.iter().any(|(k, there)| *k == key && *there);
        let never = [
            ("MachineID", "MachineOf"),
            ("MachineID", "Conflicts"),
            ("MachineID", "Global"),
            ("MachineID", "Replaces"),
            ("MachineID", "Spread"),
            ("MachineOf", "Global"),
            ("MachineOf", "Spread"),
            ("Global", "Replaces"),
            ("Global", "Spread"),
            ("Conflicts", "Replaces"),
        ];
        if let Some((a, b)) = never.into_iter().find(|(a, b)| given(a) && given(b)) {
            return Some(format!(
                "{a}= and {b}= exclude each other: keep one of them"
            ));
        }
        // An instance's text is its template's, whose Count= it has nothing to do with.
        if self.count.is_some() && name.instance().is_none() {
            return Some(format!(
                "Count= wants a template, and {name} is none (name it {}@.{})",
                name.prefix(),
                name.suffix()
            ));
        }
        let apart = self.conflicts.iter().chain(&self.replaces);
        let peer = |p: &Pattern| self.beside.iter().any(|peer| p.matches(peer.as_str()));
        let mut both = apart.filter(|pattern| peer(pattern));
        both.next()
            .map(|p| format!("MachineOf= names a unit that \"{p}\" keeps off the same machine"))
    }

    /// Whether it may not share a machine with `other`.
    #[must_use]
    pub fn conflicts_with(&self, other: &UnitName) -> bool {
        self.conflicts.iter().any(|p| p.matches(other.as_str()))
    }

    /// Whether it displaces `other`.
    #[must_use]
    pub fn replaces(&self, other: &UnitName) -> bool {
        self.replaces.iter().any(|p| p.matches(other.as_str()))
    }
}

fn current(key: &str) -> &str {
    let former = FORMER.iter().find(|(former, _)| *former == key);
    former.map_or(key, |(_, now)| now)
}

fn known(key: &str) -> Result<(), String> {
    if KEYS.contains(&key) {
        return Ok(());
    }
    let near = |candidate: &&&str| strsim::damerau_levenshtein(candidate, key);
    let nearest = KEYS.iter().min_by_key(near).copied().unwrap_or_default();
    Err(format!(
        "unknown key \"{key}\" in [X-Fleet]: did you mean {nearest}=?"
    ))
}

fn patterns(list: &mut Vec<Pattern>, words: &[String]) -> Result<(), String> {
    for word in words {
        let pattern = Pattern::new(word).map_err(|e| {
            format!(
                "expected a unit name or pattern, found \"{word}\": {}",
                e.msg
            )
        })?;
        list.push(pattern);
    }
    Ok(())
}

fn one<'a>(words: &'a [String], what: &str) -> Result<&'a str, String> {
    match words {
        [word] => Ok(word),
        _ => Err(format!("expected {what}, found {} words", words.len())),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "1" | "on" => Ok(true),
        "false" | "no" | "0" | "off" => Ok(false),
        _ => Err(format!("expected true or false, found \"{text}\"")),
    }
}

fn priority(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|n| (-1000..=1000).contains(n));
    number.ok_or_else(|| format!("expected a number of -1000 to 1000, found \"{text}\""))
}

fn count(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|n| *n <= MOST_INSTANCES);
    number.ok_or_else(|| format!("expected a number of 0 to {MOST_INSTANCES}, found \"{text}\""))
}

fn on_disconnect(words: &[String]) -> Result<OnDisconnect, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let bad = || {
        format!(
            "expected keep, or stop-after with seconds like 30s, found \"{}\"",
            words.join(" ")
        )
    };
    match words[..] {
        ["keep"] => Ok(OnDisconnect::Keep),
        ["stop-after", time] => {
            let seconds = time.strip_suffix('s').unwrap_or(time).parse::<u64>().ok();
            let seconds = seconds
                .filter(|s| (1..=86_400).contains(s))
                .ok_or_else(bad)?;
            Ok(OnDisconnect::StopAfter(Duration::from_secs(seconds)))
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests;
