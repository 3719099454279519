//! `registries.conf`, version 2: where an image's registry really is, and whether it may be reached
//! in the clear. Keys are those of containers-registries.conf(5).
//!
//! It never talks to a registry. Plain HTTP comes from `insecure = true` and from nowhere else.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::reference::{self, Reference, ReferenceError};

/// The main file; drop-ins lie in the folder of the same name plus `.d`.
pub const REGISTRIES_CONF: &str = "/etc/containers/registries.conf";

/// All files of `registries.conf` and its drop-ins, merged.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    entries: Vec<Entry>,
    search: Vec<String>,
    aliases: BTreeMap<String, String>,
}

/// One place that an image can be had from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, e.g. `registry-1.docker.io` or `10.0.2.2:5000`.
    pub host: String,
    /// The repository's path there.
    pub repository: String,
    /// Plain HTTP instead of HTTPS.
    pub insecure: bool,
    /// The registry that credentials are looked up for, as written in the reference or mirror.
    pub registry: String,
}

/// Why the files cannot be used, or forbid an image.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A file is there and cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A value that cannot be.
    #[error("{}: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// `blocked = true`.
    #[error("registry `{0}` is blocked by registries.conf")]
    Blocked(String),
    /// A short name's expansion, or the name itself, is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(rename = "unqualified-search-registries")]
    search: Option<Vec<String>>,
    registry: Vec<Entry>,
    aliases: BTreeMap<String, String>,
    /// Known and without effect here: nobody can be asked at a prompt.
    #[serde(rename = "short-name-mode")]
    _short_name_mode: Option<String>,
    #[serde(rename = "credential-helpers")]
    credential_helpers: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entry {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    #[serde(rename = "mirror-by-digest-only")]
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Mirror {
    location: String,
    insecure: bool,
    #[serde(rename = "pull-from-mirror")]
    pull_from: PullFrom,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Registries {
    /// Reads the host's files; none at all is fine.
    ///
    /// # Errors
    /// An unreadable file, or one with a mistake, named with file and line.
    pub fn load() -> Result<Self, RegistriesError> {
        Self::load_from(Path::new(REGISTRIES_CONF))
    }

    /// Reads `main` and the drop-ins in `main` plus `.d`, in the order of their names.
    ///
    /// # Errors
    /// As [`Registries::load`].
    pub fn load_from(main: &Path) -> Result<Self, RegistriesError> {
        let mut all = Self::default();
        for path in files(main)? {
            match std::fs::read_to_string(&path) {
                Ok(text) => all.merge(&path, &text)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RegistriesError::Read { path, source }),
            }
        }
        Ok(all)
    }

    /// One file's text, for tests and for configuration that is not on disk.
    ///
    /// # Errors
    /// A mistake in the text; `path` is only its name in the error.
    pub fn parse(path: &Path, text: &str) -> Result<Self, RegistriesError> {
        let mut all = Self::default();
        all.merge(path, text)?;
        Ok(all)
    }

    /// What an image name given by a person means: an alias, the first search registry, or Docker's
    /// default.
    ///
    /// # Errors
    /// When the text, or what it stands for, is no reference.
    pub fn resolve(&self, text: &str) -> Result<Reference, RegistriesError> {
        if reference::names_a_registry(text) {
            return Ok(text.parse()?);
        }
        let end = text.find([':', '@']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if let Some(full) = self.aliases.get(name) {
            return Ok(format!("{full}{rest}").parse()?);
        }
        match self.search.first() {
            Some(registry) => Ok(format!("{registry}/{text}").parse()?),
            None => Ok(text.parse()?),
        }
    }

    /// Where to pull a reference from: mirrors first, the registry itself last.
    ///
    /// # Errors
    /// When the registry is blocked.
    pub fn endpoints(&self, image: &Reference) -> Result<Vec<Endpoint>, RegistriesError> {
        let name = image.name();
        let Some(entry) = self.entry_for(&name) else {
            return Ok(vec![endpoint(&name, false)]);
        };
        if entry.blocked {
            return Err(RegistriesError::Blocked(entry.prefix().to_owned()));
        }
        let by_digest = image.digest().is_some();
        let mirrors = entry.mirror.iter().filter(|m| entry.allows(m, by_digest));
        let mut endpoints: Vec<_> = mirrors
            .map(|m| endpoint(&entry.rewrite(&name, &m.location), m.insecure))
            .collect();
        let location = entry.location.as_deref().unwrap_or_else(|| entry.prefix());
        endpoints.push(endpoint(&entry.rewrite(&name, location), entry.insecure));
        Ok(endpoints)
    }

    /// The entry with the longest prefix that the name lies under.
    fn entry_for(&self, name: &str) -> Option<&Entry> {
        let matching = self.entries.iter().filter(|e| is_under(name, e.prefix()));
        matching.max_by_key(|e| e.prefix().len())
    }

    fn merge(&mut self, path: &Path, text: &str) -> Result<(), RegistriesError> {
        let file: File = toml::from_str(text).map_err(|e| syntax(path, text, &e))?;
        if !file.credential_helpers.is_empty() {
            let message = "`credential-helpers` is not supported: put credentials in auth.json";
            return Err(value(path, message.to_owned()));
        }
        for entry in file.registry {
            entry.check().map_err(|message| value(path, message))?;
            self.entries.retain(|e| e.prefix() != entry.prefix());
            self.entries.push(entry);
        }
        if let Some(search) = file.search {
            self.search = search;
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }
}

impl Entry {
    fn prefix(&self) -> &str {
        let location = || self.location.as_deref().unwrap_or_default();
        self.prefix.as_deref().unwrap_or_else(location)
    }

    fn allows(&self, mirror: &Mirror, by_digest: bool) -> bool {
        match mirror.pull_from {
            PullFrom::DigestOnly => by_digest,
            PullFrom::TagOnly => !by_digest,
            PullFrom::All => by_digest || !self.mirror_by_digest_only,
        }
    }

    /// `name` with this entry's prefix replaced by another location.
    fn rewrite(&self, name: &str, location: &str) -> String {
        let prefix = self.prefix();
        if prefix.starts_with("*.") {
            let path = name.find('/').map_or("", |slash| &name[slash..]);
            let same = self.location.is_none() && location == prefix;
            return if same {
                name.to_owned()
            } else {
                format!("{location}{path}")
            };
        }
        format!("{location}{}", &name[prefix.len()..])
    }

    fn check(&self) -> Result<(), String> {
        if self.prefix().is_empty() {
            return Err("[[registry]] needs a `prefix` or a `location`".to_owned());
        }
        let own = self.prefix.as_deref().filter(|p| !p.starts_with("*."));
        let mirrors = self.mirror.iter().map(|m| m.location.as_str());
        for place in own
            .into_iter()
            .chain(self.location.as_deref())
            .chain(mirrors)
        {
            let host = place.split('/').next().unwrap_or_default();
            if !reference::is_host_and_port(host) || place.ends_with('/') {
                let shape = "expected HOST[:PORT][/PATH] without a scheme";
                return Err(format!("[[registry]] place `{place}`: {shape}"));
            }
        }
        Ok(())
    }
}

/// `main`, then what is in `main` plus `.d`, sorted.
fn files(main: &Path) -> Result<Vec<PathBuf>, RegistriesError> {
    let mut folder = main.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let fail = |source| RegistriesError::Read {
        path: folder.clone(),
        source,
    };
    let mut drop_ins = match std::fs::read_dir(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(fail(e)),
        Ok(listing) => {
            let paths = listing.map(|entry| entry.map(|e| e.path()));
            paths.collect::<Result<Vec<_>, _>>().map_err(fail)?
        }
    };
    drop_ins.retain(|p| p.extension().is_some_and(|e| e == "conf"));
    drop_ins.sort();
    drop_ins.insert(0, main.to_owned());
    Ok(drop_ins)
}

/// A prefix ends where a part of the name ends; `*.example.com` stands for any host below it.
fn is_under(name: &str, prefix: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        return host.len() > domain.len() && host.ends_with(domain);
    }
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn endpoint(place: &str, insecure: bool) -> Endpoint {
    let (registry, repository) = place.split_once('/').unwrap_or((place, ""));
    // Docker Hub's registry answers under another name than its images bear.
    let host = match registry {
        "docker.io" => "registry-1.docker.io",
        other => other,
    };
    Endpoint {
        host: host.to_owned(),
        repository: repository.to_owned(),
        insecure,
        registry: registry.to_owned(),
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> RegistriesError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count();
    let message = error.message().to_owned();
    RegistriesError::Syntax {
        path: path.to_owned(),
        line,
        message,
    }
}

fn value(path: &Path, message: String) -> RegistriesError {
    RegistriesError::Value {
        path: path.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Registries {
        Registries::parse(Path::new("r.conf"), text).unwrap()
    }

    fn refuse(text: &str) -> String {
        Registries::parse(Path::new("r.conf"), text)
            .unwrap_err()
            .to_string()
    }

    fn places(registries: &Registries, image: &str) -> Vec<String> {
        let image: Reference = image.parse().unwrap();
        let scheme = |e: &Endpoint| if e.insecure { "http" } else { "https" };
        let endpoints = registries.endpoints(&image).unwrap();
        let show = |e: &Endpoint| format!("{}://{}/{}", scheme(e), e.host, e.repository);
        endpoints.iter().map(show).collect()
    }

    #[test]
    fn without_a_file_everything_is_https() {
        let none = Registries::default();
        assert_eq!(
            places(&none, "redis"),
            ["https://registry-1.docker.io/library/redis"]
        );
        assert_eq!(
            places(&none, "localhost:5000/web"),
            ["https://localhost:5000/web"]
        );
    }

    #[test]
    fn plain_http_is_for_the_registry_that_says_insecure_and_no_other() {
        let r = parse("[[registry]]\nlocation = \"10.0.2.2:5000\"\ninsecure = true\n");
        assert_eq!(
            places(&r, "10.0.2.2:5000/web:1"),
            ["http://10.0.2.2:5000/web"]
        );
        assert_eq!(
            places(&r, "10.0.2.2:50001/web"),
            ["https://10.0.2.2:50001/web"]
        );
        assert_eq!(
            places(&r, "redis"),
            ["https://registry-1.docker.io/library/redis"]
        );
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_wins() {
        let r = parse(
            r#"
            [[registry]]
            prefix = "docker.io"
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.local:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "by-digest.local"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "docker.io/library/secret"
            blocked = true
            [[registry]]
            prefix = "*.example.com"
            location = "cache.local/example"
            "#,
        );
        let expected = [
            "http://mirror.local:5000/hub/library/redis",
            "https://registry-1.docker.io/library/redis",
        ];
        assert_eq!(places(&r, "redis"), expected);
        let pinned = format!("redis@{}", super::super::digest::Digest::of(b""));
        assert_eq!(places(&r, &pinned).len(), 3);
        assert_eq!(
            places(&r, "a.example.com:8/x/y"),
            ["https://cache.local/example/x/y"]
        );
        assert_eq!(places(&r, "example.com/x"), ["https://example.com/x"]);
        let blocked = r.endpoints(&"secret".parse().unwrap()).unwrap_err();
        assert!(
            blocked
                .to_string()
                .contains("`docker.io/library/secret` is blocked")
        );
    }

    #[test]
    fn short_names_follow_aliases_then_the_search_list() {
        let r = parse(
            "unqualified-search-registries = [\"quay.io\"]\n[aliases]\n\"web\" = \"ghcr.io/me/web\"\n",
        );
        assert_eq!(r.resolve("web:2").unwrap().to_string(), "ghcr.io/me/web:2");
        assert_eq!(
            r.resolve("other").unwrap().to_string(),
            "quay.io/other:latest"
        );
        assert_eq!(
            r.resolve("a.io/web").unwrap().to_string(),
            "a.io/web:latest"
        );
        let default = Registries::default().resolve("web").unwrap();
        assert_eq!(default.to_string(), "docker.io/library/web:latest");
    }

    #[test]
    fn a_mistake_is_named_with_file_and_line() {
        let unknown = refuse("[[registry]]\nlocation = \"a.io\"\ninsecur = true\n");
        assert!(
            unknown.starts_with("r.conf:3: unknown field `insecur`"),
            "{unknown}"
        );
        let kind = refuse("[[registry]]\nlocation = \"a.io\"\ninsecure = \"yes\"\n");
        assert!(kind.starts_with("r.conf:3: invalid type"), "{kind}");
        assert!(refuse("[[registry]\n").starts_with("r.conf:1: "));
        assert!(refuse("[[registry]]\ninsecure = true\n").contains("needs a `prefix`"));
        let scheme = refuse("[[registry]]\nlocation = \"http://a.io\"\n");
        assert!(scheme.contains("without a scheme"), "{scheme}");
        assert!(refuse("credential-helpers = [\"x\"]").contains("auth.json"));
    }

    #[test]
    fn drop_ins_override_by_prefix_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("registries.conf");
        let drop_ins = folder.path().join("registries.conf.d");
        std::fs::create_dir(&drop_ins).unwrap();
        let entry =
            |insecure| format!("[[registry]]\nlocation = \"a.io\"\ninsecure = {insecure}\n");
        std::fs::write(&main, entry(false)).unwrap();
        std::fs::write(drop_ins.join("20.conf"), entry(true)).unwrap();
        std::fs::write(drop_ins.join("10.conf"), entry(false)).unwrap();
        std::fs::write(drop_ins.join("30.txt"), "not read").unwrap();
        let r = Registries::load_from(&main).unwrap();
        assert_eq!(places(&r, "a.io/x"), ["http://a.io/x"]);
        let none = Registries::load_from(&folder.path().join("absent.conf")).unwrap();
        assert!(none.entries.is_empty());
    }
}
