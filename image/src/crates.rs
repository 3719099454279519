//! Which crates our programs are made of, from Cargo.lock and the manifests of the workspace.
//!
//! Pure: takes texts. Leaves out what only tests use; keeps what build scripts use, since their
//! output may end up in a program.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A crate from a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its package.
    pub sha256: String,
}

/// Not what cargo writes.
#[derive(Debug, thiserror::Error)]
pub enum CratesError {
    /// Not TOML, or not with cargo's keys.
    #[error("{file}: {source}")]
    Syntax {
        /// Which file.
        file: String,
        /// Why.
        source: toml::de::Error,
    },
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Manifest {
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(rename = "build-dependencies")]
    build_dependencies: BTreeMap<String, toml::Value>,
}

/// All crates from registries that the workspace's members `roots` are built from.
///
/// `manifests` are the members' `Cargo.toml` by name.
///
/// # Errors
/// When a text is not what cargo writes.
pub fn of(
    lock: &str,
    manifests: &BTreeMap<String, String>,
    roots: &[&str],
) -> Result<Vec<Crate>, CratesError> {
    let lock: Lock = parse("Cargo.lock", lock)?;
    let mut members = BTreeMap::new();
    for (name, text) in manifests {
        let manifest: Manifest = parse(&format!("Cargo.toml of {name}"), text)?;
        let all = manifest
            .dependencies
            .into_keys()
            .chain(manifest.build_dependencies.into_keys());
        members.insert(name.as_str(), all.collect::<BTreeSet<_>>());
    }
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut open: Vec<&Locked> = roots.iter().filter_map(|name| find(&lock, name)).collect();
    while let Some(package) = open.pop() {
        if !seen.insert((&package.name, &package.version)) {
            continue;
        }
        if let Some(sha256) = &package.checksum {
            found.insert(Crate {
                name: package.name.clone(),
                version: package.version.clone(),
                sha256: sha256.clone(),
            });
        }
        let names = members.get(package.name.as_str());
        let wanted = |dependency: &&String| {
            let name = dependency.split(' ').next().unwrap_or("");
            names.is_none_or(|names| names.contains(name))
        };
        let dependencies = package.dependencies.iter().filter(wanted);
        open.extend(dependencies.filter_map(|dependency| find(&lock, dependency)));
    }
    Ok(found.into_iter().collect())
}

/// The lock names a dependency by its name, and its version where there are several.
fn find<'a>(lock: &'a Lock, dependency: &str) -> Option<&'a Locked> {
    let mut words = dependency.split(' ');
    let (name, version) = (words.next()?, words.next());
    lock.package
        .iter()
        .find(|p| p.name == name && version.is_none_or(|version| version == p.version))
}

fn parse<T: for<'a> Deserialize<'a>>(file: &str, text: &str) -> Result<T, CratesError> {
    toml::from_str(text).map_err(|source| CratesError::Syntax {
        file: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_use_is_left_out_and_versions_are_told_apart() {
        let lock = "
[[package]]
name = 'skeg'
version = '0.1.0'
dependencies = ['a 2.0.0', 'only-tests']
[[package]]
name = 'a'
version = '1.0.0'
checksum = 'a1'
[[package]]
name = 'a'
version = '2.0.0'
checksum = 'a2'
dependencies = ['b']
[[package]]
name = 'b'
version = '1.0.0'
checksum = 'b1'
[[package]]
name = 'only-tests'
version = '1.0.0'
checksum = 't1'
";
        let manifest = "[dependencies]\na = '2'\n[dev-dependencies]\nonly-tests = '1'\n";
        let manifests = [("skeg".to_owned(), manifest.to_owned())].into();
        let all = of(lock, &manifests, &["skeg"]).unwrap();
        let all: Vec<_> = all.iter().map(|c| (&*c.name, &*c.sha256)).collect();
        assert_eq!(all, [("a", "a2"), ("b", "b1")]);
    }
}
