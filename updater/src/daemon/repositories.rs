//! Signed repositories as a source of releases: servers or folders in order, one channel.
//!
//! What a look has learnt — changes of keys, the channel's counter — is on STATE before the release is
//! spoken of, so that nothing old is shown to this host again.

use super::config::Config;
use super::releases::{Bytes, Denied, Releases};
use crate::esp::plan::Wanted;
use crate::fetch::{
    Assembly, Base, Download, FolderSource, HttpSource, Look, LookError, Mirror, Mirrors, Settings,
    look,
};
use crate::reader::Reader;
use crate::strategy::wariness;
use crate::trust::{Clock, Host, Memory, TrustError, TrustedRoot, VerifiedRelease};
use formats::manifest::Role;
use formats::name::Name;
use formats::version::Version;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use sys::durable;

/// Where it is kept what looks have learnt.
const STATE: &str = "/var/lib/skeg-update";
/// Who this host is: its place on a rollout's curve.
pub(super) const MACHINE_ID: &str = "/etc/machine-id";

/// The repositories of a host's configuration.
#[derive(Debug)]
pub struct Repositories {
    sources: Vec<String>,
    channel: Name,
    root: PathBuf,
    state: PathBuf,
    found: Mutex<Option<VerifiedRelease>>,
}

impl Repositories {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            sources: config.sources.clone(),
            channel: config.channel.clone(),
            root: config.root.clone(),
            state: STATE.into(),
            found: Mutex::default(),
        }
    }

    fn mirrors(&self) -> Result<Mirrors<Mirror>, String> {
        let mirror = |source: &String| match source.strip_prefix('/') {
            Some(_) => Ok(Mirror::Folder(FolderSource::new(Path::new(source)))),
            None => HttpSource::new(source, Settings::default()).map(|s| Mirror::Http(Box::new(s))),
        };
        let mirrors = self.sources.iter().map(mirror).collect::<Result<_, _>>();
        Ok(Mirrors::new(mirrors.map_err(|e| e.to_string())?))
    }

    /// The root of the configuration, and those that it has led to.
    fn root(&self) -> Result<TrustedRoot, String> {
        let told = |e: &dyn std::fmt::Display| format!("{}: {e}", self.root.display());
        let file = std::fs::read(&self.root).map_err(|e| told(&e))?;
        let mut root = TrustedRoot::pinned(&file).map_err(|e| told(&e))?;
        while let Ok(file) = std::fs::read(self.kept_root(root.version() + 1)) {
            match root.rotate(&file) {
                Ok(next) => root = next,
                Err(e) => {
                    tracing::warn!("{}: {e}", self.kept_root(root.version() + 1).display());
                    break;
                }
            }
        }
        Ok(root)
    }

    /// Roots that came after the one of the configuration, `VERSION.jsonl` each.
    fn kept_root(&self, version: u64) -> PathBuf {
        self.state.join(format!("roots/{version}.jsonl"))
    }

    /// What is remembered of the channel. One that cannot be read is begun anew: the channel's expiry
    /// bounds what a replay could show.
    fn memory(&self) -> Memory {
        let bytes = std::fs::read(self.state.join("channel.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn keep(&self, before: u64, look: &Look) -> std::io::Result<()> {
        durable::create_dir_all(&self.state.join("roots"))?;
        for (version, file) in (before + 1..).zip(&look.roots) {
            durable::write(&self.kept_root(version), file, 0o600)?;
        }
        let memory = serde_json::to_vec(look.channel.memory())?;
        durable::write(&self.state.join("channel.json"), &memory, 0o600)
    }
}

fn clock() -> Clock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Clock {
        now: since.unwrap_or_default().as_secs(),
    }
}

fn event_loop() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_io().enable_time().build();
    built.map_err(|e| format!("start the event loop: {e}"))
}

impl Releases for Repositories {
    fn look(&self, running: Version, denied: &Denied<'_>) -> Result<Option<Wanted>, String> {
        let root = self.root()?;
        let before = root.version();
        let host = Host {
            channel: &self.channel,
            running,
            denied,
        };
        let mut mirrors = self.mirrors()?;
        let memory = self.memory();
        let look = look(&mut mirrors, root, &host, &memory, clock());
        let look = event_loop()?.block_on(look).map_err(|e| e.to_string())?;
        self.keep(before, &look).map_err(|e| e.to_string())?;
        let release = match look.release {
            None | Some(Err(LookError::Trust(TrustError::NotNewer { .. }))) => return Ok(None),
            Some(Err(e)) => return Err(e.to_string()),
            Some(Ok(release)) => release,
        };
        let machine = std::fs::read(MACHINE_ID).unwrap_or_default();
        let place = wariness::place(&machine, &release.identity().0);
        if !wariness::is_its_turn(look.channel.rollout(), place, clock().now) {
            tracing::info!(
                "{}: the rollout has not come to this host yet",
                release.version()
            );
            return Ok(None);
        }
        let uki = release.uki();
        let wanted = Wanted {
            version: release.version(),
            length: uki.length,
            sha256: uki.sha256,
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(release);
        Ok(Some(wanted))
    }

    fn open(&self, wanted: &Wanted, base: &Path) -> Result<Box<dyn Bytes>, String> {
        let found = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let release =
            found.filter(|r| r.version() == wanted.version && r.uki().sha256 == wanted.sha256);
        let release = release.ok_or("it has to be looked for again")?;
        let base = match Base::open(base) {
            Ok(base) => Some(base),
            Err(e) => {
                tracing::warn!("{}: {e}; all of the release is fetched", base.display());
                None
            }
        };
        let event_loop = event_loop()?;
        let reader = Reader::new(self.mirrors()?);
        let begun = Assembly::begin(reader, &release, Role::Uki, base, 0);
        let assembly = event_loop.block_on(begun).map_err(|e| e.to_string())?;
        Ok(Box::new(Arriving {
            event_loop,
            assembly,
        }))
    }
}

/// A release that arrives.
struct Arriving {
    event_loop: tokio::runtime::Runtime,
    assembly: Assembly<Reader<Mirrors<Mirror>>>,
}

impl Bytes for Arriving {
    fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let next = self.event_loop.block_on(self.assembly.next());
        next.map_err(|e| e.to_string())
    }

    fn fetched(&self) -> u64 {
        self.assembly.counted().fetched
    }
}
