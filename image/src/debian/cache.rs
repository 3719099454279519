//! The cache of unpacked packages, one folder per SHA-256: what is in it needs no network.
//!
//! A folder appears by one rename when it is whole, so a cut build leaves nothing half-made.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::apt::{Apt, AptError};
use super::candidate::Candidate;
use super::lock::{Lock, Pinned, Taken};
use crate::host::{DPKG_DEB, ToolError};
use crate::progress;

/// Why a package is not in the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The lock has no such role.
    #[error("debian.lock has no package {0:?}")]
    NoRole(String),
    /// From the mirror.
    #[error("package {name}: {source}")]
    Apt {
        /// Which package.
        name: String,
        /// Why.
        source: AptError,
    },
    /// Unpacking failed.
    #[error("{0}")]
    Tool(#[from] ToolError),
    /// The pinned version is gone and `--locked` was given.
    #[error(
        "package {name} {version} is gone from the mirror, and --locked refuses any other; \
         newest of its series: {newest}. Update debian.lock, or build without --locked"
    )]
    Gone {
        /// Which package.
        name: String,
        /// Its pinned version.
        version: String,
        /// What would be taken.
        newest: String,
    },
    /// The mirror's file is not the pinned one.
    #[error("package {name} {version}: expected SHA-256 {expected}, got {got}")]
    Hash {
        /// Which package.
        name: String,
        /// Its version.
        version: String,
        /// The lock's hash.
        expected: String,
        /// What came.
        got: String,
    },
    /// A file of ours.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A package, unpacked.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its files.
    pub folder: PathBuf,
    /// What it is.
    pub taken: Taken,
    /// The pinned version that it stands in for.
    pub instead_of: Option<String>,
    /// SPDX expression of what we take from it.
    pub license: String,
}

/// The cache, and how to fill it.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    lock: Lock,
    locked: bool,
    mirror: Option<String>,
    apt: OnceCell<Apt>,
    had: RefCell<BTreeMap<String, Package>>,
}

impl Cache {
    /// A cache in `folder`; with `locked` nothing but the pinned versions is taken.
    #[must_use]
    pub fn new(folder: PathBuf, lock: Lock, locked: bool, mirror: Option<String>) -> Self {
        Self {
            folder,
            lock,
            locked,
            mirror,
            apt: OnceCell::new(),
            had: RefCell::default(),
        }
    }

    /// Where the cache lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Debian's code name of the release that packages come from.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.lock.release
    }

    /// All roles of the lock.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.lock.package.keys().map(String::as_str)
    }

    /// The folder with OVMF's `OVMF_CODE_4M.fd` and `OVMF_VARS_4M.fd`, at a place that does not
    /// depend on its version: `ovmf/` in the cache.
    ///
    /// # Errors
    /// As [`Cache::package`], or when the files cannot be copied.
    pub fn firmware(&self) -> Result<PathBuf, CacheError> {
        let from = self.package("firmware")?.folder.join("usr/share/OVMF");
        let place = self.folder.join("ovmf");
        fs::create_dir_all(&place).map_err(at(&place))?;
        for name in ["OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"] {
            let (source, target) = (from.join(name), place.join(name));
            let bytes = fs::read(&source).map_err(at(&source))?;
            if fs::read(&target).ok().as_ref() != Some(&bytes) {
                let partial = place.join(format!("{name}.{}", std::process::id()));
                fs::write(&partial, bytes).map_err(at(&partial))?;
                fs::rename(&partial, &target).map_err(at(&target))?;
            }
        }
        Ok(place)
    }

    /// The package that has a role in the lock, from the cache or else from the mirror.
    ///
    /// # Errors
    /// When neither has it as it should be.
    pub fn package(&self, role: &str) -> Result<Package, CacheError> {
        if let Some(package) = self.had.borrow().get(role) {
            return Ok(package.clone());
        }
        let package = self.find(role)?;
        self.had
            .borrow_mut()
            .insert(role.to_owned(), package.clone());
        Ok(package)
    }

    fn find(&self, role: &str) -> Result<Package, CacheError> {
        let pinned = self.lock.package.get(role);
        let pinned = pinned.ok_or_else(|| CacheError::NoRole(role.to_owned()))?;
        let exact = pinned.taken();
        if self.holds(&exact) {
            return Ok(self.have(pinned, exact));
        }
        if !self.locked
            && let Some(substitute) = self.known_substitute(pinned)
        {
            warn_of(pinned, &substitute);
            return Ok(self.have(pinned, substitute));
        }
        self.fetch(pinned)
    }

    fn fetch(&self, pinned: &Pinned) -> Result<Package, CacheError> {
        let named = |source| CacheError::Apt {
            name: pinned.name.clone(),
            source,
        };
        let apt = self.apt().map_err(named)?;
        let candidates = apt.candidates(&pinned.name).map_err(named)?;
        if let Some(found) = candidates.into_iter().find(|c| c.version == pinned.version) {
            let taken = self.unpack(apt, &found, &pinned.sha256)?;
            return Ok(self.have(pinned, taken));
        }
        let newest = apt.newest(pinned).map_err(named)?;
        if self.locked {
            return Err(CacheError::Gone {
                name: pinned.name.clone(),
                version: pinned.version.clone(),
                newest: format!("{} {}", newest.name, newest.version),
            });
        }
        let taken = self.unpack(apt, &newest, &newest.sha256)?;
        warn_of(pinned, &taken);
        self.remember_substitute(pinned, &taken)?;
        Ok(self.have(pinned, taken))
    }

    fn apt(&self) -> Result<&Apt, AptError> {
        if let Some(apt) = self.apt.get() {
            return Ok(apt);
        }
        let release = &self.lock.release;
        let text = format!("reading the package index of Debian {release}");
        let root = self.folder.join("apt");
        let apt = progress::timed(&text, || {
            Apt::update(&root, release, self.mirror.as_deref())
        })?;
        Ok(self.apt.get_or_init(|| apt))
    }

    fn unpack(&self, apt: &Apt, from: &Candidate, sha256: &str) -> Result<Taken, CacheError> {
        let work = self.folder.join(format!("partial-{}", std::process::id()));
        let result = self.unpack_in(&work, apt, from, sha256);
        let _ = fs::remove_dir_all(&work);
        result
    }

    fn unpack_in(
        &self,
        work: &Path,
        apt: &Apt,
        from: &Candidate,
        sha256: &str,
    ) -> Result<Taken, CacheError> {
        let _ = fs::remove_dir_all(work);
        fs::create_dir_all(work).map_err(at(work))?;
        let text = format!("fetching {} {}", from.name, from.version);
        let deb = progress::timed(&text, || apt.download(from, work));
        let deb = deb.map_err(|source| CacheError::Apt {
            name: from.name.clone(),
            source,
        })?;
        let got = sha256_of(&deb)?;
        if got != sha256 {
            return Err(CacheError::Hash {
                name: from.name.clone(),
                version: from.version.clone(),
                expected: sha256.to_owned(),
                got,
            });
        }
        let tree = work.join("tree");
        let paths = [Path::new("--extract"), &deb, &tree];
        progress::timed(&format!("unpacking {}", from.name), || {
            DPKG_DEB.run(paths, &[])
        })?;
        let place = self.folder.join(sha256);
        match fs::rename(&tree, &place) {
            // Another build was faster: its folder is as good.
            Err(_) if place.is_dir() => {}
            other => other.map_err(at(&place))?,
        }
        Ok(Taken {
            name: from.name.clone(),
            version: from.version.clone(),
            sha256: got,
        })
    }

    fn holds(&self, taken: &Taken) -> bool {
        self.folder.join(&taken.sha256).is_dir()
    }

    fn have(&self, pinned: &Pinned, taken: Taken) -> Package {
        let exact = taken == pinned.taken();
        Package {
            folder: self.folder.join(&taken.sha256),
            taken,
            instead_of: (!exact).then(|| format!("{} {}", pinned.name, pinned.version)),
            license: pinned.license.clone(),
        }
    }

    fn substitute_file(&self, pinned: &Pinned) -> PathBuf {
        self.folder
            .join(format!("instead-of-{}.json", pinned.sha256))
    }

    fn known_substitute(&self, pinned: &Pinned) -> Option<Taken> {
        let text = fs::read(self.substitute_file(pinned)).ok()?;
        let taken = serde_json::from_slice(&text).ok()?;
        self.holds(&taken).then_some(taken)
    }

    fn remember_substitute(&self, pinned: &Pinned, taken: &Taken) -> Result<(), CacheError> {
        let path = self.substitute_file(pinned);
        let text = serde_json::to_vec(taken)
            .map_err(io::Error::from)
            .map_err(at(&path))?;
        fs::write(&path, text).map_err(at(&path))
    }
}

fn warn_of(pinned: &Pinned, taken: &Taken) {
    progress::warn(&format!(
        "{} {} is pinned in debian.lock but gone from the mirror; taking {} {} (SHA-256 {}), \
         which nobody has pinned. The SBOM records it; --locked refuses it.",
        pinned.name, pinned.version, taken.name, taken.version, taken.sha256
    ));
}

fn sha256_of(path: &Path) -> Result<String, CacheError> {
    let mut file = fs::File::open(path).map_err(at(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(at(path))?;
        if read == 0 {
            return Ok(crate::hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError + '_ {
    move |source| CacheError::Io {
        path: path.to_owned(),
        source,
    }
}
