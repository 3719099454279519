//! The engine: one daemon that keeps images, containers, volumes, logs and units.
//!
//! Pure middles (the machine of a container, [`crate::unit`]) decide; one task a container carries
//! the decisions out. All of it runs on one thread, blocking work on a small pool beside it.

pub mod api;
mod backoff;
mod checks;
mod clock;
mod container;
mod create;
mod daemon;
mod docker;
mod error;
mod exec;
mod health;
mod http;
pub mod init_client;
mod io;
mod launch;
mod log;
mod machine;
mod networks;
mod notify;
pub mod options;
mod prepare;
mod proc;
mod puller;
pub mod record;
mod redescribe;
mod resolv;
mod secrets;
mod session;
mod shelf;
mod shutdown;
mod units;
pub mod values;
mod volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use formats::registration::StampKind;

use crate::image::Store;
use crate::network::Networks;
use crate::zygote;
use checks::Checks;
use container::{Container, lock};
use error::Error;
use puller::Puller;
use shelf::Shelf;
use units::Board;

pub use daemon::{main, zygote_socket};

/// Everything that the engine holds.
pub(crate) struct Engine {
    shelf: Shelf,
    store: Store,
    puller: Puller,
    zygote: zygote::Client,
    networks: tokio::sync::Mutex<Networks>,
    /// By id.
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    units: Mutex<Board>,
    /// What is missing or broken, by a stable key.
    troubles: Mutex<BTreeMap<String, String>>,
    /// Where sockets lie: it does not outlive the boot.
    run: PathBuf,
    checks: Checks,
    /// Mount point of cgroup2, when containers can have cgroups.
    cgroups: Option<PathBuf>,
    /// Two starts must not fill one volume.
    filling: Mutex<()>,
    /// Rung whenever a container or unit stands elsewhere than before.
    changed: tokio::sync::watch::Sender<()>,
    stopping: AtomicBool,
    docker: docker::Kept,
    /// Until what the boot starts has been started: only that belongs into the boot's timeline.
    booting: Arc<AtomicBool>,
}

impl Engine {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn trouble(&self, key: &str, text: String) {
        let new = lock(&self.troubles).insert(key.to_string(), text.clone());
        if new.as_ref() != Some(&text) {
            tracing::error!("{text}");
        }
    }

    /// Stamps a moment of the boot.
    async fn stamp(&self, kind: StampKind, name: &str) {
        if self.booting.load(Ordering::Relaxed) {
            init_client::stamp(kind, name).await;
        }
    }

    /// A text with names in place of the ids of containers.
    fn with_names(&self, mut text: String) -> String {
        for (id, container) in &*lock(&self.containers) {
            text = text.replace(id, &container.config.name);
        }
        text
    }

    fn clear_trouble(&self, key: &str) {
        lock(&self.troubles).remove(key);
    }

    /// All containers, oldest first.
    fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = lock(&self.containers).values().cloned().collect();
        all.sort_by_key(|c| c.config.created);
        all
    }

    fn forget(&self, id: &str) {
        lock(&self.containers).remove(id);
        self.changed.send_replace(());
    }

    /// A container by id, name, the beginning of its id, or its unit.
    fn find(&self, text: &str) -> Result<Arc<Container>, Error> {
        let containers = lock(&self.containers);
        let unit = text.strip_suffix(".service").unwrap_or(text);
        let of_unit = |c: &Container| {
            let own = c.config.options.unit.as_deref();
            own.is_some_and(|u| u.strip_suffix(".service") == Some(unit))
        };
        if let Some(container) = containers.get(text) {
            return Ok(container.clone());
        }
        if let Some(container) = containers.values().find(|c| c.config.name == text) {
            return Ok(container.clone());
        }
        if let Some(container) = containers.values().find(|c| of_unit(c)) {
            return Ok(container.clone());
        }
        let mut begins = containers
            .values()
            .filter(|c| c.config.id.starts_with(text));
        match (begins.next(), begins.next()) {
            (Some(container), None) if !text.is_empty() => Ok(container.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "'{text}' is the beginning of more than one container's id: write more of it"
            ))),
            _ => Err(Error::not_found(format!(
                "no container '{text}'; see 'skeg ps -a'"
            ))),
        }
    }

    /// Whether a container's cgroup is frozen.
    fn is_paused(&self, id: &str) -> bool {
        let file = self.cgroup_of(id).map(|path| path.join("cgroup.freeze"));
        let read = file.and_then(|file| std::fs::read_to_string(file).ok());
        read.is_some_and(|text| text.trim() == "1")
    }

    fn cgroup_of(&self, id: &str) -> Option<PathBuf> {
        let mount = self.cgroups.as_ref()?;
        Some(mount.join(formats::paths::CGROUP_CONTAINERS).join(id))
    }
}
