//! `MachineMetadata=`: what a unit requires of a machine's metadata.
//!
//! Values of one key are alternatives, keys add up, as in fleet; the comparisons are new.

use std::collections::BTreeMap;
use std::fmt;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal, as text.
    Equal,
    /// Not equal, or not there.
    NotEqual,
    /// At least, as whole numbers.
    AtLeast,
    /// At most, as whole numbers.
    AtMost,
}

/// One comparison: `disk=ssd`, `zone!=b`, `cores>=4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The metadata's key.
    pub key: String,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

/// Operators as written; the longer ones first, since `=` ends each.
const WRITTEN: [(&str, Operator); 4] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("=", Operator::Equal),
];

impl Requirement {
    /// Reads one word.
    ///
    /// # Errors
    /// No operator, an empty key, or a bound that is no number.
    pub fn parse(word: &str) -> Result<Self, String> {
        let bad = || {
            format!("expected KEY=VALUE, KEY!=VALUE, KEY>=NUMBER or KEY<=NUMBER, found \"{word}\"")
        };
        let at = word.find(['!', '<', '>', '=']).ok_or_else(bad)?;
        let (key, rest) = word.split_at(at);
        let (operator, value) = WRITTEN
            .into_iter()
            .find_map(|(text, operator)| Some((operator, rest.strip_prefix(text)?)))
            .ok_or_else(bad)?;
        let bound = matches!(operator, Operator::AtLeast | Operator::AtMost);
        if key.is_empty() || (bound && value.parse::<i64>().is_err()) {
            return Err(bad());
        }
        Ok(Self {
            key: key.to_owned(),
            operator,
            value: value.to_owned(),
        })
    }

    /// Whether a machine with this metadata meets it alone.
    #[must_use]
    pub fn holds(&self, metadata: &BTreeMap<String, String>) -> bool {
        let found = metadata.get(&self.key);
        let number = || found.and_then(|text| text.parse::<i64>().ok());
        let bound = || self.value.parse::<i64>().ok();
        match self.operator {
            Operator::Equal => found == Some(&self.value),
            Operator::NotEqual => found != Some(&self.value),
            Operator::AtLeast => number().zip(bound()).is_some_and(|(n, b)| n >= b),
            Operator::AtMost => number().zip(bound()).is_some_and(|(n, b)| n <= b),
        }
    }
}

/// The first key of which no alternative holds.
#[must_use]
pub fn unmet<'a>(
    requirements: &'a [Requirement],
    metadata: &BTreeMap<String, String>,
) -> Option<&'a Requirement> {
    requirements.iter().find(|r| {
        let alternative = |other: &&Requirement| {
            other.key == r.key && other.operator == Operator::Equal && r.operator == Operator::Equal
        };
        !r.holds(metadata)
            && !requirements
                .iter()
                .filter(alternative)
                .any(|other| other.holds(metadata))
    })
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = WRITTEN
            .iter()
            .find(|(_, operator)| *operator == self.operator);
        let written = written.map_or("=", |(text, _)| *text);
        write!(f, "{}{written}{}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> BTreeMap<String, String> {
        let pairs = [("zone", "a"), ("cores", "8")];
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn met(words: &[&str]) -> bool {
        let all: Vec<_> = words
            .iter()
            .map(|w| Requirement::parse(w).unwrap())
            .collect();
        unmet(&all, &metadata()).is_none()
    }

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_add_up() {
        assert!(met(&["zone=a"]));
        assert!(met(&["zone=b", "zone=a"]));
        assert!(!met(&["zone=b", "zone=c"]));
        assert!(!met(&["zone=a", "disk=ssd"]));
    }

    #[test]
    fn bounds_and_exclusions_each_have_to_hold() {
        assert!(met(&["cores>=8", "cores<=8", "zone!=b", "disk!=hdd"]));
        assert!(!met(&["cores>=9"]));
        assert!(!met(&["cores>=4", "cores<=7"]));
        assert!(!met(&["zone!=b", "zone!=a"]));
        assert!(!met(&["zone>=1"]), "a text is no number");
        assert!(!met(&["disk<=1"]), "nothing is no number");
    }

    #[test]
    fn a_comparison_is_shown_as_it_was_written() {
        for text in ["zone=a", "zone!=a", "cores>=4", "cores<=-1", "url=a=b"] {
            assert_eq!(Requirement::parse(text).unwrap().to_string(), text);
        }
        for text in ["zone", "=a", "cores>4", "cores>=many", "!zone"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
    }
}
