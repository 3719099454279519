//! The layers of one pull: several at a time, each downloaded and unpacked by one pull only.
//!
//! What is under way is bounded over all pulls, so that memory is, too.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;

use super::super::digest::{DiffId, Digest};
use super::super::layer;
use super::super::manifest::Descriptor;
use super::cache::release_later;
use super::download::Download;
use super::error::{Problem, PullCause};
use super::layout::{LayerInfo, remove_tree};
use super::pull::Pull;
use super::{Phase, Progress, Store};

/// Layers of one pull that are worked on at once.
const AT_ONCE: usize = 4;

impl<F: Fn(Progress)> Pull<'_, F> {
    /// Brings all layers into the store and returns their size. After the first failure nothing new
    /// is begun, and what runs is awaited, so that nothing is under way when this returns.
    pub(super) async fn layers(
        &self,
        blobs: &[Descriptor],
        ids: &[DiffId],
    ) -> Result<u64, PullCause> {
        let given_up = AtomicBool::new(false);
        let mut work = Vec::new();
        for (blob, id) in blobs.iter().zip(ids) {
            work.push(self.layer_or_give_up(blob, id, &given_up));
        }
        let done: Vec<_> = futures_util::stream::iter(work)
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut size = 0;
        let mut first = None;
        for result in done {
            match result {
                Ok(info) => size += info.size,
                Err((_, Problem::GivenUp)) => {}
                Err(failed) => first = first.or(Some(failed)),
            }
        }
        let Some((digest, problem)) = first else {
            return Ok(size);
        };
        Err(PullCause::Part {
            part: format!("layer {digest}"),
            problem,
        })
    }

    async fn layer_or_give_up(
        &self,
        blob: &Descriptor,
        id: &DiffId,
        given_up: &AtomicBool,
    ) -> Result<LayerInfo, (Digest, Problem)> {
        let result = self.layer(blob, id, given_up).await;
        if result.is_err() {
            given_up.store(true, Ordering::Relaxed);
        }
        result.map_err(|problem| (blob.digest.clone(), problem))
    }

    async fn layer(
        &self,
        blob: &Descriptor,
        id: &DiffId,
        given_up: &AtomicBool,
    ) -> Result<LayerInfo, Problem> {
        let inner = &self.store.inner;
        self.tell(blob, Phase::Waiting, 0);
        let held = inner.layer_locks.hold(id).await;
        if let Some(info) = inner.layout.layer_info(id)? {
            self.tell(blob, Phase::Ready, blob.size);
            return Ok(info);
        }
        let blob_held = inner.blob_locks.hold(&blob.digest).await;
        let path = inner.layout.part(&blob.digest);
        let file = {
            let _turn = inner.downloads.acquire().await.map_err(io::Error::other)?;
            if given_up.load(Ordering::Relaxed) {
                return Err(Problem::GivenUp);
            }
            self.check_space(blob.size)?;
            self.tell(blob, Phase::Downloading, 0);
            let (client, endpoint) = (self.client, self.endpoint);
            let download = Download {
                client,
                endpoint,
                descriptor: blob,
                path: path.clone(),
                given_up,
            };
            download
                .run(|done| self.tell(blob, Phase::Downloading, done))
                .await?
        };
        let turn = Arc::clone(&inner.extractions).acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        self.tell(blob, Phase::Extracting, blob.size);
        let (store, id) = (self.store.clone(), id.clone());
        let diff = inner.layout.diff(&id);
        let work = move || {
            // Held to the end of the work, even if the pull is dropped meanwhile.
            let _held = (held, blob_held, turn);
            let made = store.extract(file, &id);
            let _ = remove_tree(&path);
            made
        };
        let info = tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)??;
        release_later(diff);
        self.tell(blob, Phase::Ready, blob.size);
        Ok(info)
    }

    fn check_space(&self, needed: u64) -> Result<(), Problem> {
        let inner = &self.store.inner;
        let stat = rustix::fs::statvfs(inner.layout.images().parent().unwrap_or(Path::new("/")));
        let stat = stat.map_err(io::Error::from)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let needed = needed.saturating_add(inner.options.limits.reserve);
        if needed > free {
            Err(Problem::Space { needed, free })
        } else {
            Ok(())
        }
    }

    fn tell(&self, blob: &Descriptor, phase: Phase, done: u64) {
        let (layer, total) = (blob.digest.clone(), blob.size);
        (self.progress)(Progress {
            layer,
            phase,
            done,
            total,
        });
    }
}

impl Store {
    /// Unpacks a verified blob and gives the layer its name.
    fn extract(&self, file: std::fs::File, id: &DiffId) -> Result<LayerInfo, Problem> {
        let layout = &self.inner.layout;
        let made = layout.temporary("layer");
        let result = (|| {
            let diff = made.join("diff");
            std::fs::create_dir_all(&diff)?;
            // A container's `/`, unless the layer says whose it is.
            std::os::unix::fs::chown(&diff, Some(0), Some(0))?;
            let unpacked = layer::extract(file, &diff, id, &self.inner.options.limits)?;
            let info = LayerInfo {
                size: unpacked.size,
                is_opaque: unpacked.is_opaque,
            };
            layout.keep_layer(&made, id, &info)?;
            Ok(info)
        })();
        if result.is_err()
            && let Err(error) = remove_tree(&made)
        {
            tracing::warn!(%error, "cannot remove a layer that failed to unpack");
        }
        result
    }
}
