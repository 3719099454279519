//! Numbers of users and groups: given once, kept while the name stays.
//!
//! Never gives one that the image's daemons have, nor one that an earlier configuration gave to another.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The engine's group, by its fixed number: see the image's accounts.
pub const API_GID: u32 = 64_900;
/// The image's daemons.
const IMAGE: RangeInclusive<u32> = 64_900..=64_999;
/// What a user named core has where nothing else is said, as on other hosts that read Ignition.
const CORE: u32 = 1000;

/// Who has which number.
#[derive(Debug)]
pub struct Ids {
    earlier: BTreeMap<String, u32>,
    image: BTreeMap<String, u32>,
    given: BTreeMap<u32, String>,
}

impl Ids {
    /// From passwd(5) or group(5) of the earlier configuration and of the image.
    pub fn new(earlier: &str, image: &str) -> Self {
        Self {
            earlier: numbers(earlier),
            image: numbers(image),
            given: BTreeMap::new(),
        }
    }

    /// Keeps the numbers that are asked for from being given to others before their turn.
    pub fn reserve<'a>(&mut self, wanted: impl Iterator<Item = (&'a str, i64)>) {
        for (name, id) in wanted {
            if let Ok(id) = u32::try_from(id) {
                self.earlier.insert(name.to_owned(), id);
            }
        }
    }

    /// Gives a number: the wanted one, the one from earlier, or the next.
    pub fn give(&mut self, name: &str, wanted: Option<i64>, system: bool) -> Result<u32, String> {
        let id = match wanted {
            Some(wanted) => self.explicit(name, wanted)?,
            None => self.kept(name).unwrap_or_else(|| self.fresh(name, system)),
        };
        self.given.insert(id, name.to_owned());
        Ok(id)
    }

    /// A group for a user: the user's own number, if nobody has it.
    pub fn beside(&mut self, name: &str, uid: u32) -> u32 {
        let kept = self.kept(name);
        let id = kept.unwrap_or_else(|| match self.is_free(uid, name) {
            true => uid,
            false => self.fresh(name, false),
        });
        self.given.insert(id, name.to_owned());
        id
    }

    fn explicit(&self, name: &str, wanted: i64) -> Result<u32, String> {
        let id = u32::try_from(wanted).ok().filter(|id| *id != u32::MAX);
        let id = id.ok_or_else(|| format!("{wanted} is no id"))?;
        if IMAGE.contains(&id) {
            return Err(format!(
                "{id} belongs to the host's daemons: {} to {} do",
                IMAGE.start(),
                IMAGE.end()
            ));
        }
        if id == 0 && name != "root" {
            return Err("0 is root's".to_owned());
        }
        match self.given.get(&id) {
            Some(other) => Err(format!("{id} is {other}'s already")),
            None => Ok(id),
        }
    }

    fn kept(&self, name: &str) -> Option<u32> {
        let id = *self.earlier.get(name)?;
        (!self.given.contains_key(&id) && !IMAGE.contains(&id) && id != 0).then_some(id)
    }

    fn is_free(&self, id: u32, name: &str) -> bool {
        let others = self.earlier.iter().chain(&self.image);
        let mut others = others.filter(|(other, _)| *other != name);
        !self.given.contains_key(&id)
            && !IMAGE.contains(&id)
            && !others.any(|(_, taken)| *taken == id)
    }

    fn fresh(&self, name: &str, system: bool) -> u32 {
        if name == "core" && self.is_free(CORE, name) {
            return CORE;
        }
        let free = |id: &u32| self.is_free(*id, name) && *id != CORE;
        let found = match system {
            true => (200..CORE).rev().find(free),
            false => (CORE..60_000).find(free),
        };
        found.unwrap_or(60_000)
    }
}

fn numbers(text: &str) -> BTreeMap<String, u32> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_when_others_come_and_go() {
        let mut first = Ids::new("", "skeg-net:x:64901:");
        assert_eq!(first.give("core", None, false), Ok(1000));
        assert_eq!(first.give("anna", None, false), Ok(1001));
        assert_eq!(first.give("bert", None, false), Ok(1002));
        let mut second = Ids::new("anna:x:1001:\nbert:x:1002:\n", "");
        assert_eq!(second.give("aaron", None, false), Ok(1003));
        assert_eq!(second.give("bert", None, false), Ok(1002));
        assert_eq!(second.give("daemon", None, true), Ok(999));
    }

    #[test]
    fn numbers_of_others_are_refused() {
        let mut ids = Ids::new("", "");
        ids.give("anna", Some(5000), false).unwrap();
        for wanted in [5000, 0, -1, 64_902, i64::from(u32::MAX)] {
            assert!(ids.give("bert", Some(wanted), false).is_err(), "{wanted}");
        }
    }
}
