//! Names of units (systemd.unit(5)): prefix, instance, suffix.
//!
//! A [`UnitName`] can hold no slash and no control character, so it may stand in a key and in a path.

use std::fmt;
use std::str::FromStr;

/// Suffixes that a host can run: systemd's, then Quadlet's.
const SUFFIXES: [&str; 14] = [
    "service",
    "socket",
    "timer",
    "path",
    "mount",
    "automount",
    "target",
    "device",
    "container",
    "pod",
    "volume",
    "network",
    "image",
    "kube",
];

/// systemd's limit (`UNIT_NAME_MAX`), in bytes.
const LONGEST: usize = 255;

/// `web.service`, `web@.container` (a template) or `web@3.container` (its instance).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

/// A text that names no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a unit name like web.service or web@1.container (letters, digits and :-_.\\@, at most 255 bytes), found {found:?}: {reason}"
)]
pub struct BadName {
    found: String,
    reason: &'static str,
}

impl FromStr for UnitName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |reason| BadName {
            found: text.chars().take(80).collect(),
            reason,
        };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        if text.len() > LONGEST {
            return Err(bad("it is too long"));
        }
        if !text.bytes().all(allowed) {
            return Err(bad("it has another character"));
        }
        let (stem, suffix) = text.rsplit_once('.').ok_or(bad("it has no suffix"))?;
        if !SUFFIXES.contains(&suffix) {
            return Err(bad("no host runs units of that suffix"));
        }
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, "x"));
        if prefix.is_empty() {
            return Err(bad("nothing stands before the suffix or the @"));
        }
        if instance.contains('@') {
            return Err(bad("it has a second @"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl UnitName {
    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its suffix (`%N`).
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(stem, _)| stem)
    }

    /// What follows the last dot.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, suffix)| suffix)
    }

    /// What stands before the `@`, or the stem (`%p`).
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.stem().split('@').next().unwrap_or_default()
    }

    /// What stands between `@` and suffix (`%i`): empty for a template, none for a plain unit.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// Whether it is a template, which never runs itself.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// The template of an instance: `web@.container` for `web@3.container`.
    #[must_use]
    pub fn template(&self) -> Option<Self> {
        let instance = self.instance()?;
        let template = format!("{}@.{}", self.prefix(), self.suffix());
        (!instance.is_empty()).then_some(Self(template))
    }

    /// An instance of a template, numbered as `Count=` numbers them; none for any other name.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<Self> {
        let name = format!("{}@{number}.{}", self.prefix(), self.suffix());
        (self.is_template() && name.len() <= LONGEST).then_some(Self(name))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> UnitName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_comes_apart_as_systemd_takes_it_apart() {
        let instance = name("db.main@a-1.container");
        assert_eq!(instance.stem(), "db.main@a-1");
        assert_eq!(instance.prefix(), "db.main");
        assert_eq!(instance.instance(), Some("a-1"));
        assert_eq!(instance.template(), Some(name("db.main@.container")));
        assert!(!instance.is_template());
        let plain = name("web.service");
        assert_eq!((plain.prefix(), plain.instance()), ("web", None));
        assert_eq!(plain.template(), None);
        assert_eq!(name("web@.pod").numbered(2), Some(name("web@2.pod")));
        assert_eq!(plain.numbered(2), None);
    }

    #[test]
    fn what_could_leave_its_key_or_folder_is_no_name() {
        let bad = [
            "",
            "web",
            "web.",
            ".service",
            "@1.service",
            "web.exe",
            "a/b.service",
            "a b.service",
            "a\n.service",
            "ä.service",
            "a@b@c.service",
            "../x.service",
        ];
        for text in bad {
            assert!(text.parse::<UnitName>().is_err(), "{text}");
        }
        let long = format!("{}.service", "a".repeat(250));
        assert!(
            long.parse::<UnitName>()
                .unwrap_err()
                .to_string()
                .contains("too long")
        );
    }

    proptest! {
        #[test]
        fn a_name_that_was_taken_is_kept_as_it_was(text in "\\PC{0,40}(\\.service)?") {
            if let Ok(name) = text.parse::<UnitName>() {
                prop_assert_eq!(name.as_str(), text);
                prop_assert!(!name.prefix().is_empty());
            }
        }
    }
}
