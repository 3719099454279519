//! A private apt: its own lists and its own sources, with the host's proxies and Debian's keys.
//!
//! Never touches the host's package state; signatures are apt's to check, hashes ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::candidate::Candidate;
use super::lock::{self, Pinned};
use super::mirror::Mirrors;
use crate::host::{APT_CACHE, APT_GET, DPKG, Tool, ToolError};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Drops what the host's apt does besides: hooks, indexes that we do not read, and leave to take
/// what nobody signed for.
const SETTINGS: &str = "#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::CNF;
Acquire::Languages \"none\";
APT::Get::AllowUnauthenticated \"false\";
Acquire::AllowInsecureRepositories \"false\";
Acquire::AllowWeakRepositories \"false\";
Acquire::AllowDowngradeToInsecureRepositories \"false\";
";

/// Why packages cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// The machine does not say where Debian is.
    #[error(
        "no Debian mirror in /etc/apt/sources.list and sources.list.d: name one with --mirror URL"
    )]
    NoMirror,
    /// No keys to check against.
    #[error("{KEYRING} is missing: install it with `apt-get install debian-archive-keyring`")]
    NoKeyring,
    /// apt's own words.
    #[error("{0}")]
    Tool(#[from] ToolError),
    /// The host's keyring is older than the release.
    #[error(
        "the host's keyring does not know the keys of {release}: \
         `apt-get install debian-archive-keyring`, then again ({source})"
    )]
    Keys {
        /// The release.
        release: String,
        /// apt's words.
        source: ToolError,
    },
    /// A file of ours.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing that could take a pinned package's place.
    #[error("no package {name} of a version {version} on the mirror")]
    NoSeries {
        /// Pattern of the name.
        name: String,
        /// Pattern of the version.
        version: String,
    },
}

/// apt with a root of its own.
#[derive(Debug)]
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Sets up the private root below `root` and reads the mirror's signed indexes.
    ///
    /// # Errors
    /// When there is no mirror, no keyring, or apt cannot read the indexes.
    pub fn update(root: &Path, release: &str, mirror: Option<&str>) -> Result<Self, AptError> {
        if !Path::new(KEYRING).exists() {
            return Err(AptError::NoKeyring);
        }
        let mirrors = match mirror {
            Some(url) => Mirrors {
                main: Some(url.to_owned()),
                security: None,
            },
            None => Mirrors::find(host_sources().iter().map(String::as_str)),
        };
        let sources = mirrors
            .source_list(release, KEYRING)
            .ok_or(AptError::NoMirror)?;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        for (name, text) in [
            ("sources.list", &*sources),
            ("apt.conf", SETTINGS),
            ("status", ""),
        ] {
            let path = root.join(name);
            fs::write(&path, text).map_err(at(&path))?;
        }
        let apt = Self {
            root: root.to_owned(),
        };
        apt.run(APT_GET, &["update"]).map_err(|error| match error {
            AptError::Tool(source) if source.to_string().contains("NO_PUBKEY") => AptError::Keys {
                release: release.to_owned(),
                source,
            },
            other => other,
        })?;
        Ok(apt)
    }

    /// What the mirror has of exactly this name.
    ///
    /// # Errors
    /// When apt cannot be run.
    pub fn candidates(&self, name: &str) -> Result<Vec<Candidate>, AptError> {
        // apt-cache fails for a name that it does not know: that is an empty list.
        match self.run(APT_CACHE, &["show", name]) {
            Ok(text) => Ok(Candidate::all_in(&String::from_utf8_lossy(&text))),
            Err(AptError::Tool(ToolError::Failed { .. })) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The newest package that may take the place of a pinned one.
    ///
    /// # Errors
    /// When there is none.
    pub fn newest(&self, pinned: &Pinned) -> Result<Candidate, AptError> {
        let series = &pinned.series;
        let prefix = series.name.split('*').next().unwrap_or("");
        let names = self.run(APT_CACHE, &["pkgnames", prefix])?;
        let mut best: Option<Candidate> = None;
        for name in String::from_utf8_lossy(&names).lines() {
            if !lock::matches(&series.name, name) {
                continue;
            }
            for candidate in self.candidates(name)? {
                let newer = match &best {
                    None => true,
                    Some(best) => is_newer(&candidate.version, &best.version)?,
                };
                if newer && lock::matches(&series.version, &candidate.version) {
                    best = Some(candidate);
                }
            }
        }
        best.ok_or_else(|| AptError::NoSeries {
            name: series.name.clone(),
            version: series.version.clone(),
        })
    }

    /// Downloads one package into an empty folder and returns the file.
    ///
    /// # Errors
    /// When apt cannot, or what came is not signed for.
    pub fn download(&self, package: &Candidate, into: &Path) -> Result<PathBuf, AptError> {
        let wanted = format!("{}={}", package.name, package.version);
        // `download` writes into the current folder; a subprocess of ours has no other one.
        let mut arguments = self.options();
        arguments.extend(["download".to_owned(), wanted]);
        APT_GET.run_in(into, arguments, &[])?;
        let file = fs::read_dir(into)
            .map_err(at(into))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "deb"));
        file.ok_or_else(|| at(into)(io::ErrorKind::NotFound.into()))
    }

    fn run(&self, tool: Tool, arguments: &[&str]) -> Result<Vec<u8>, AptError> {
        let mut all = self.options();
        all.extend(arguments.iter().map(|&a| a.to_owned()));
        Ok(tool.run(all, &[])?)
    }

    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.root.join(name).display().to_string();
        let settings = [
            format!("Dir::Etc::SourceList={}", path("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State={}", path("state")),
            format!("Dir::State::status={}", path("status")),
            format!("Dir::Cache={}", path("cache")),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
        ];
        let mut options = vec!["-qq".to_owned(), "-c".to_owned(), path("apt.conf")];
        options.extend(
            settings
                .into_iter()
                .flat_map(|setting| ["-o".to_owned(), setting]),
        );
        options
    }
}

fn host_sources() -> Vec<String> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<_> = folder
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        parts.sort();
        paths.extend(parts);
    }
    let wanted = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| e == "list" || e == "sources")
    };
    let texts = paths.iter().filter(|path| wanted(path));
    texts
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

fn is_newer(a: &str, b: &str) -> Result<bool, AptError> {
    match DPKG.run(["--compare-versions", a, "gt", b], &[]) {
        Ok(_) => Ok(true),
        Err(ToolError::Failed { status, .. }) if status.code() == Some(1) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AptError + '_ {
    move |source| AptError::Io {
        path: path.to_owned(),
        source,
    }
}
