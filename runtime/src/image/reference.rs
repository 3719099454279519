//! Image references as people write them: `redis:7`, `localhost:5000/web`, `ghcr.io/a/b@sha256:…`.
//!
//! A [`Reference`] is always complete (registry and repository known); it never says whether the
//! image exists. Defaults are Docker's: `docker.io`, `library/`, `latest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::{Digest, DigestError};

/// The registry meant when none is named.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// A registry, a repository, and a tag or digest or both.
///
/// With both, the digest decides what is pulled and the tag is only a name for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference. Each variant carries the text as given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("an image reference must not be empty: expected [REGISTRY/]NAME[:TAG][@DIGEST]")]
    Empty,
    /// The registry part is no host name with an optional port.
    #[error("image `{text}`: `{registry}` is no registry: expected HOST or HOST:PORT")]
    Registry {
        /// The whole reference.
        text: String,
        /// The part that is wrong.
        registry: String,
    },
    /// A part of the repository's path breaks the grammar.
    #[error(
        "image `{text}`: repository part `{part}` must be lower-case letters and digits, \
         joined by `.`, `_`, `__` or dashes"
    )]
    Repository {
        /// The whole reference.
        text: String,
        /// The part that is wrong.
        part: String,
    },
    /// The repository's path is too long.
    #[error("image repository has {0} characters: at most {MAX_REPOSITORY} are allowed")]
    TooLong(usize),
    /// The tag breaks the grammar.
    #[error(
        "image `{text}`: tag `{tag}` must be 1 to {MAX_TAG} letters, digits, `_`, `.` or `-`, \
         and must not begin with `.` or `-`"
    )]
    Tag {
        /// The whole reference.
        text: String,
        /// The part that is wrong.
        tag: String,
    },
    /// What follows `@` is no digest.
    #[error("image `{text}`: {source}")]
    Digest {
        /// The whole reference.
        text: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
    /// 64 hexadecimal characters are an image id, never a name.
    #[error("`{0}` looks like an image id: an id names an image in the store, not one to pull")]
    Id(String),
}

impl Reference {
    /// Host and port as written, `docker.io` by default.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, e.g. `library/redis`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` was filled in if there was neither tag nor digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that pins the content.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository without tag or digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository, named by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The same repository and tag without a digest, or `None` without a tag.
    #[must_use]
    pub fn tag_only(&self) -> Option<Self> {
        self.tag.as_ref()?;
        let mut tagged = self.clone();
        tagged.digest = None;
        Some(tagged)
    }

    /// The short form that people read: `redis:7` for `docker.io/library/redis:7`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(rest) = full.strip_prefix("docker.io/") else {
            return full;
        };
        match rest.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ if names_a_registry(rest) => full,
            _ => rest.to_owned(),
        }
    }

    /// What the registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ReferenceError::Id(text.to_owned()));
        }
        let (named, digest) = split_digest(text)?;
        let (path, mut tag) = split_tag(text, named)?;
        let (registry, repository) = split_registry(text, path)?;
        check_repository(text, &repository)?;
        if tag.is_none() && digest.is_none() {
            tag = Some(DEFAULT_TAG.to_owned());
        }
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether a text names its registry, or leaves it to Docker's default or a search list.
#[must_use]
pub fn names_a_registry(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(first, _)| is_registry(first))
}

/// Docker's rule: the first part is a registry if it could not be a repository's folder.
fn is_registry(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>), ReferenceError> {
    let Some((named, digest)) = text.split_once('@') else {
        return Ok((text, None));
    };
    let digest = digest.parse().map_err(|source| ReferenceError::Digest {
        text: text.to_owned(),
        source,
    })?;
    Ok((named, Some(digest)))
}

/// A colon after the last slash begins a tag; one before it belongs to a port.
fn split_tag<'a>(text: &str, named: &'a str) -> Result<(&'a str, Option<String>), ReferenceError> {
    let after_slash = named.rfind('/').map_or(0, |i| i + 1);
    let Some(colon) = named[after_slash..].find(':') else {
        return Ok((named, None));
    };
    let (path, tag) = (
        &named[..after_slash + colon],
        &named[after_slash + colon + 1..],
    );
    if !is_tag(tag) {
        return Err(ReferenceError::Tag {
            text: text.to_owned(),
            tag: tag.to_owned(),
        });
    }
    Ok((path, Some(tag.to_owned())))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= MAX_TAG
        && bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

fn split_registry(text: &str, path: &str) -> Result<(String, String), ReferenceError> {
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, path),
    };
    if !is_host_and_port(registry) {
        let (text, registry) = (text.to_owned(), registry.to_owned());
        return Err(ReferenceError::Registry { text, registry });
    }
    let is_docker = matches!(registry, "docker.io" | "index.docker.io");
    if is_docker {
        let library = if repository.contains('/') {
            ""
        } else {
            "library/"
        };
        return Ok((
            DEFAULT_REGISTRY.to_owned(),
            format!("{library}{repository}"),
        ));
    }
    Ok((registry.to_owned(), repository.to_owned()))
}

/// `host`, `host:port`, `1.2.3.4:5000` or `[::1]:5000`.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], &text[end + 1..]),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = |p: &str| {
        p.is_empty()
            || p.strip_prefix(':').is_some_and(|digits| {
                digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            })
    };
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
    (is_v6 || is_host_name(host)) && is_port(port)
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

fn check_repository(text: &str, repository: &str) -> Result<(), ReferenceError> {
    if repository.len() > MAX_REPOSITORY {
        return Err(ReferenceError::TooLong(repository.len()));
    }
    match repository.split('/').find(|part| !is_path_part(part)) {
        None => Ok(()),
        Some(part) => {
            let (text, part) = (text.to_owned(), part.to_owned());
            Err(ReferenceError::Repository { text, part })
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, written as a walk over the separators.
fn is_path_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(|b| is_word(*b)) || !bytes.last().is_some_and(|b| is_word(*b)) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn short_names_get_dockers_defaults() {
        for (given, expected) in [
            ("redis", "docker.io/library/redis:latest"),
            ("redis:7", "docker.io/library/redis:7"),
            ("docker.io/redis:7", "docker.io/library/redis:7"),
            ("index.docker.io/redis", "docker.io/library/redis:latest"),
            ("grafana/loki:3.0", "docker.io/grafana/loki:3.0"),
            ("localhost/web", "localhost/web:latest"),
            ("localhost:5000/web", "localhost:5000/web:latest"),
            ("10.0.2.2:5000/a/b/c:v1", "10.0.2.2:5000/a/b/c:v1"),
            ("[::1]:5000/web:1", "[::1]:5000/web:1"),
            ("Registry/web", "Registry/web:latest"),
            (
                "ghcr.io/a/b.c_d__e---f:X_1.2-3",
                "ghcr.io/a/b.c_d__e---f:X_1.2-3",
            ),
        ] {
            assert_eq!(full(given), expected);
        }
        assert_eq!(
            full(&format!("redis@{D}")),
            format!("docker.io/library/redis@{D}")
        );
        assert_eq!(
            full(&format!("redis:7@{D}")),
            format!("docker.io/library/redis:7@{D}")
        );
    }

    #[test]
    fn the_familiar_form_drops_what_docker_would_fill_in() {
        for (given, expected) in [
            ("redis", "redis:latest"),
            ("docker.io/library/redis:7", "redis:7"),
            ("docker.io/grafana/loki:3", "grafana/loki:3"),
            ("docker.io/library/a/b:1", "library/a/b:1"),
            ("quay.io/x/y:1", "quay.io/x/y:1"),
        ] {
            assert_eq!(given.parse::<Reference>().unwrap().familiar(), expected);
        }
    }

    #[test]
    fn a_digest_wins_over_the_tag() {
        let both: Reference = format!("redis:7@{D}").parse().unwrap();
        assert_eq!(both.wanted(), D);
        assert_eq!(
            both.tag_only().unwrap().to_string(),
            "docker.io/library/redis:7"
        );
        let pinned: Reference = format!("redis@{D}").parse().unwrap();
        assert_eq!(pinned.tag_only(), None);
        assert_eq!(both.with_digest(Digest::of(b"")), pinned);
    }

    #[test]
    fn what_is_no_reference_is_refused_and_the_part_is_named() {
        for (text, part) in [
            ("", "must not be empty"),
            ("Redis", "`Redis` must be lower-case"),
            ("redis:", "tag ``"),
            ("redis:-x", "tag `-x`"),
            ("a//b", "part ``"),
            ("/redis", "part ``"),
            ("a/../b", "part `..`"),
            ("a/b_", "part `b_`"),
            ("a/b___c", "part `b___c`"),
            ("a/b._c", "part `b._c`"),
            ("-a.io/b", "`-a.io` is no registry"),
            ("a.io:99999/b", "`a.io:99999` is no registry"),
            ("a.io:x/b", "`a.io:x` is no registry"),
            ("user:pw@host/x", "no digest"),
            ("redis@sha256:12", "64 lower-case"),
            ("http://a.io/b", "`http:` is no registry"),
            ("re dis", "part `re dis`"),
            (&D[7..], "image id"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long_tag = format!("redis:{}", "a".repeat(129));
        assert!(long_tag.parse::<Reference>().is_err());
        assert!("redis:".to_owned().parse::<Reference>().is_err());
        assert!("a".repeat(256).parse::<Reference>().is_err());
        assert!("a".repeat(200).parse::<Reference>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back_the_same(text in "[ -~]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let printed = reference.to_string();
                prop_assert_eq!(&printed.parse::<Reference>().unwrap(), &reference);
                let short = reference.familiar();
                prop_assert_eq!(&short.parse::<Reference>().unwrap(), &reference);
                prop_assert!(!printed.contains(".."));
            }
        }

        #[test]
        fn well_formed_parts_are_taken_as_they_are(
            host in "[a-z][a-z0-9]{0,8}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?",
            path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
            tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
        ) {
            prop_assume!(!host.starts_with("docker.io") && !host.ends_with("docker.io"));
            let text = format!("{host}/{path}:{tag}");
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string(), text);
            prop_assert_eq!(reference.registry(), host);
            prop_assert_eq!(reference.repository(), path);
        }
    }
}
