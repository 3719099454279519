//! The lock, `image/debian.lock`: which Debian packages, by exact version and SHA-256.
//!
//! Holds no mirror and no path: where packages come from is the machine's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole lock.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Debian's code name of the release that all packages come from.
    pub release: String,
    /// Packages by the role that recipes know them by.
    pub package: BTreeMap<String, Pinned>,
}

/// One pinned package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the `.deb`, in hexadecimal.
    pub sha256: String,
    /// What may take its place when mirrors no longer have it.
    pub series: Series,
    /// SPDX expression of what we take from it.
    pub license: String,
}

/// Patterns in which `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Of the name.
    pub name: String,
    /// Of the version.
    pub version: String,
}

/// A package as it was really taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the `.deb`, in hexadecimal.
    pub sha256: String,
}

impl Lock {
    /// Reads a lock's text.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

impl Pinned {
    /// The package exactly as pinned.
    #[must_use]
    pub fn taken(&self) -> Taken {
        Taken {
            name: self.name.clone(),
            version: self.version.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// Whether `text` matches `pattern`, in which each `*` stands for any number of characters.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    let cuts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    cuts.into_iter().any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lock_pins_by_full_hashes_and_each_pin_is_of_its_own_series() {
        let lock = Lock::parse(include_str!("../../debian.lock")).unwrap();
        for pinned in lock.package.values() {
            assert_eq!(pinned.sha256.len(), 64, "{}", pinned.name);
            assert!(
                matches(&pinned.series.name, &pinned.name),
                "{}",
                pinned.name
            );
            assert!(
                matches(&pinned.series.version, &pinned.version),
                "{}",
                pinned.name
            );
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        let pattern = "linux-image-6.12.*-cloud-amd64";
        assert!(matches(pattern, "linux-image-6.12.118+deb13-cloud-amd64"));
        assert!(!matches(
            pattern,
            "linux-image-6.12.118+deb13-cloud-amd64-dbg"
        ));
        assert!(!matches(pattern, "linux-image-6.13.1-cloud-amd64"));
    }
}
