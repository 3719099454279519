//! The signed documents beside the repository: roots and channels, each new one on top of the last.
//!
//! One publisher at a time: a lock on the repository is held while anything is changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use formats::channel::{Channel, Pointer, Rollout};
use formats::digest::{Hex, Sha256};
use formats::manifest::Manifest;
use formats::name::Name;
use formats::repository;
use formats::root::{Keys, Root};
use formats::signed::{Document, Envelope, seal};
use formats::version::Version;
use rustix::fs::{FlockOperation, flock};
use sha2::Digest;

use super::PublishError;
use super::keys::Signers;

/// When documents are signed, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Seconds since the epoch.
    pub now: u64,
    /// Seconds until what is signed is void.
    pub valid: u64,
}

/// A repository for one product, locked.
pub struct Publisher {
    pub(super) folder: PathBuf,
    pub(super) product: Name,
    pub(super) clock: Clock,
    _lock: File,
}

/// What becomes of a channel.
#[derive(Debug, Clone)]
pub enum Change {
    /// It goes to this release.
    Promote(Version, Rollout),
    /// Hosts take its release faster or slower.
    Rollout(Rollout),
    /// Hosts take nothing, or take again.
    Freeze(bool),
    /// Nothing but its dates.
    Renew,
}

impl Publisher {
    /// Locks a repository, and waits for whoever has it.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn open(folder: &Path, product: Name, clock: Clock) -> Result<Self, PublishError> {
        let named = |source| PublishError::Io {
            path: folder.to_owned(),
            source,
        };
        sys::durable::create_dir_all(&folder.join("skeg")).map_err(named)?;
        let lock = File::create(folder.join("skeg/.lock")).map_err(named)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| named(e.into()))?;
        Ok(Self {
            folder: folder.to_owned(),
            product,
            clock,
            _lock: lock,
        })
    }

    /// The first root, with keys that are made or there. Gives the root's path.
    ///
    /// # Errors
    /// When there is one already, or keys are too few.
    pub fn first_root(
        &self,
        root: (&Signers, u32),
        release: Keys,
        channel: Keys,
    ) -> Result<PathBuf, PublishError> {
        if self.last_root()?.is_some() {
            let message = "the repository has a root already: rotate it";
            return Err(PublishError::Refused(message.to_owned()));
        }
        let document = self.root(1, root.0.keys(root.1), release, channel);
        let file = root.0.seal("root", &document.root, &document)?;
        self.write(&repository::root(&self.product, 1), &file)
    }

    /// The next root, signed by the old keys and the new. Gives its path.
    ///
    /// # Errors
    /// When keys are too few.
    pub fn rotate(
        &self,
        old: &Signers,
        root: (&Signers, u32),
        release: Keys,
        channel: Keys,
    ) -> Result<PathBuf, PublishError> {
        let before = self.current_root()?;
        let version = before.version + 1;
        let document = self.root(version, root.0.keys(root.1), release, channel);
        let bytes = document.to_bytes()?;
        let mut signatures = old.sign("root, the old one", &before.root, &bytes)?;
        signatures.extend(root.0.sign("root, the new one", &document.root, &bytes)?);
        let path = repository::root(&self.product, version);
        self.write(&path, &seal(&bytes, &signatures))
    }

    fn root(&self, version: u64, root: Keys, release: Keys, channel: Keys) -> Root {
        Root {
            document: Root::KIND.to_owned(),
            product: self.product.clone(),
            version,
            created: self.clock.now,
            expires: self.clock.now + self.clock.valid,
            root,
            release,
            channel,
        }
    }

    /// Changes a channel, under the next number. Gives the document's path.
    ///
    /// # Errors
    /// When the channel or the release is not there, the release is older or not for it, or no key is.
    pub fn change(
        &self,
        name: &Name,
        change: Change,
        signers: &Signers,
    ) -> Result<PathBuf, PublishError> {
        let path = repository::channel(&self.product, name);
        let last = self.read::<Channel>(&path)?.map(|(channel, _)| channel);
        let root = self.current_root()?;
        let mut next = match (&change, last) {
            (Change::Promote(version, rollout), last) => {
                let next = self.promoted(name, *version, rollout.clone(), last.as_ref())?;
                self.is_forward(&next, last.as_ref())?;
                next
            }
            (_, Some(last)) => last,
            (_, None) => {
                return Err(PublishError::Absent {
                    what: format!("channel {name}"),
                    hint: "promote a release to it first",
                });
            }
        };
        match change {
            Change::Rollout(rollout) => next.rollout = rollout,
            Change::Freeze(frozen) => next.frozen = frozen,
            Change::Promote(..) => {}
            Change::Renew => {}
        }
        next.created = self.clock.now;
        next.expires = self.clock.now + self.clock.valid;
        next.root = root.version;
        next.counter += 1;
        let file = signers.seal("channel", &root.channel, &next)?;
        self.write(&path, &file)
    }

    fn promoted(
        &self,
        name: &Name,
        version: Version,
        rollout: Rollout,
        last: Option<&Channel>,
    ) -> Result<Channel, PublishError> {
        let (manifest, document) = self.manifest(version)?;
        if !manifest.channels.contains(name) {
            return Err(PublishError::Refused(format!(
                "{version} was not released for channel {name}: its own keys say which it is for"
            )));
        }
        Ok(Channel {
            document: Channel::KIND.to_owned(),
            product: self.product.clone(),
            channel: name.clone(),
            counter: last.map_or(0, |last| last.counter),
            created: 0,
            expires: 1,
            root: 0,
            frozen: false,
            release: Pointer {
                version,
                length: document.len() as u64,
                sha256: hash(&document),
            },
            rollout,
        })
    }

    /// Hosts take nothing older, so a channel that goes back would only strand them.
    fn is_forward(&self, next: &Channel, last: Option<&Channel>) -> Result<(), PublishError> {
        let (new, old) = (next.release.version, last.map(|last| last.release.version));
        match old {
            Some(old) if new < old => Err(PublishError::Refused(format!(
                "the channel is at {old}, and hosts never go back to {new}: freeze it, and release \
                 a newer one"
            ))),
            _ => Ok(()),
        }
    }

    /// A release's manifest and its bytes.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn manifest(&self, version: Version) -> Result<(Manifest, Vec<u8>), PublishError> {
        let found = self.read::<Manifest>(&repository::release(&self.product, version))?;
        found.ok_or_else(|| PublishError::Absent {
            what: format!("release {version}"),
            hint: "see `image inspect REPOSITORY`",
        })
    }

    pub(super) fn current_root(&self) -> Result<Root, PublishError> {
        self.last_root()?.ok_or(PublishError::Absent {
            what: "a root".to_owned(),
            hint: "make keys first: image keys init",
        })
    }

    fn last_root(&self) -> Result<Option<Root>, PublishError> {
        let mut last = None;
        for version in 1.. {
            let path = repository::root(&self.product, version);
            match self.read::<Root>(&path)? {
                Some((root, _)) => last = Some(root),
                None => break,
            }
        }
        Ok(last)
    }

    fn read<D: Document>(&self, path: &str) -> Result<Option<(D, Vec<u8>)>, PublishError> {
        let path = self.folder.join(path);
        let file = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PublishError::Io { path, source }),
            Ok(file) => file,
        };
        let document = Envelope::parse::<D>(&file)?.document;
        Ok(Some((D::parse(document)?, document.to_vec())))
    }

    /// Durable, and whole or not there.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<PathBuf, PublishError> {
        let path = self.folder.join(path);
        let parent = path.parent().unwrap_or(&self.folder);
        let written = sys::durable::create_dir_all(parent)
            .and_then(|()| sys::durable::write(&path, bytes, 0o644));
        match written {
            Ok(()) => Ok(path),
            Err(source) => Err(PublishError::Io { path, source }),
        }
    }

    /// Names of the documents in a folder below the product's, without `.jsonl`.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let folder = self.folder.join(format!("skeg/{}/{folder}", self.product));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names
            .filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// All releases, oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let names = self.names("releases");
        let mut versions: Vec<_> = names.iter().filter_map(|name| name.parse().ok()).collect();
        versions.sort();
        versions
    }

    /// All channels as they are now.
    ///
    /// # Errors
    /// When one is damaged.
    pub fn channels(&self) -> Result<Vec<Channel>, PublishError> {
        let mut channels = Vec::new();
        for name in self
            .names("channels")
            .iter()
            .filter_map(|name| name.parse().ok())
        {
            let found = self.read::<Channel>(&repository::channel(&self.product, &name))?;
            channels.extend(found.map(|(channel, _)| channel));
        }
        Ok(channels)
    }
}

pub(super) fn hash(bytes: &[u8]) -> Sha256 {
    Hex(sha2::Sha256::digest(bytes).into())
}
