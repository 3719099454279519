//! A pull: manifest, configuration, layers, and only then the image's record.
//!
//! Each piece is verified before the next is asked for by its name. A pull that fails changes no
//! image; of layers it leaves only verified ones, and those only if the way broke and not the image.

use std::time::{SystemTime, UNIX_EPOCH};

use oci_spec::image::ImageConfiguration;

use super::super::digest::{DiffId, Digest};
use super::super::manifest::{self, Descriptor, MAX_CONFIG, Manifest};
use super::super::platform::{self, Platform};
use super::super::reference::Reference;
use super::super::registries::Endpoint;
use super::super::registry::{Client, RegistryError};
use super::download::blocking;
use super::error::{Problem, PullCause};
use super::layout::remove_tree;
use super::locks::guard;
use super::record::Record;
use super::{Progress, Store};

/// An index may hold an index, but not for ever.
const MAX_NESTING: usize = 3;

/// One pull from one place.
pub struct Pull<'a, F> {
    /// Where the image goes.
    pub store: &'a Store,
    /// Who asks.
    pub client: &'a Client,
    /// Who is asked.
    pub endpoint: &'a Endpoint,
    /// What is asked for.
    pub reference: &'a Reference,
    /// Who is told how it goes.
    pub progress: &'a F,
}

/// A manifest that was verified, and the digest it was verified against.
struct Resolved {
    digest: Digest,
    bytes: Vec<u8>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl<F: Fn(Progress)> Pull<'_, F> {
    /// Runs the pull and returns the record that was written.
    ///
    /// # Errors
    /// See [`PullCause`].
    pub async fn run(&self) -> Result<Record, PullCause> {
        let resolved = self.resolve().await?;
        let config_bytes = self.config(&resolved.config).await?;
        let config = read_config(&resolved.config, &config_bytes)?;
        let layers = diff_ids(&resolved, &config)?;
        let (store, needed) = (self.store.clone(), layers.clone());
        let pin = move || {
            // A collection that is under way may already have found a layer unneeded: after it.
            let _changing = guard(&store.inner.changes);
            Ok(store.inner.pins.pin(needed))
        };
        let pinned = blocking(pin).await.map_err(PullCause::Store)?;
        let size = match self.layers(&resolved.layers, &layers).await {
            Ok(size) => size,
            Err(cause) => {
                drop(pinned);
                self.tidy(&cause, &resolved.layers).await;
                return Err(cause);
            }
        };
        let record = Record {
            id: resolved.config.digest,
            names: self.names(),
            manifest: resolved.digest,
            layers,
            size,
            pulled_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        };
        let blobs = [
            (record.manifest.clone(), resolved.bytes),
            (record.id.clone(), config_bytes),
        ];
        let (store, kept) = (self.store.clone(), record.clone());
        let commit = blocking(move || store.commit(kept, blobs, config)).await;
        drop(pinned);
        commit.map_err(PullCause::Store)?;
        Ok(record)
    }

    /// The tag, and the digest if one was asked for.
    fn names(&self) -> Vec<Reference> {
        let pinned = self
            .reference
            .digest()
            .map(|d| self.reference.with_digest(d.clone()));
        self.reference
            .tag_only()
            .into_iter()
            .chain(pinned)
            .collect()
    }

    /// From the reference through any index to the manifest for this machine.
    async fn resolve(&self) -> Result<Resolved, PullCause> {
        let mut wanted = self.reference.wanted();
        let mut promised = self.reference.digest().cloned();
        let mut size = None;
        for _ in 0..=MAX_NESTING {
            let part = match &promised {
                Some(digest) => format!("manifest {digest}"),
                None => "manifest".to_owned(),
            };
            let fail = |problem| PullCause::Part {
                part: part.clone(),
                problem,
            };
            let raw = self.client.manifest(self.endpoint, &wanted).await;
            let raw = raw.map_err(|e| fail(e.into()))?;
            let digest = verify(promised.as_ref(), size, &raw.bytes).map_err(fail)?;
            let parsed = manifest::parse(raw.content_type.as_deref(), &raw.bytes);
            match parsed.map_err(|e| fail(e.into()))? {
                Manifest::Image { config, layers } => {
                    return Ok(Resolved {
                        digest,
                        bytes: raw.bytes,
                        config,
                        layers,
                    });
                }
                Manifest::Index(manifests) => {
                    let chosen = platform::select(&manifests, &self.store.inner.platform)?;
                    wanted = chosen.digest.to_string();
                    (promised, size) = (Some(chosen.digest.clone()), Some(chosen.size));
                }
            }
        }
        let problem = Problem::Config(format!("indexes nested deeper than {MAX_NESTING}"));
        Err(PullCause::Part {
            part: "manifest".to_owned(),
            problem,
        })
    }

    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>, PullCause> {
        let part = || format!("config {}", descriptor.digest);
        let fail = |problem| PullCause::Part {
            part: part(),
            problem,
        };
        let limit = descriptor.size.min(MAX_CONFIG);
        let answer = self
            .client
            .small_blob(self.endpoint, &descriptor.digest, limit);
        let bytes = match answer.await {
            Err(RegistryError::TooLong { limit }) if limit == descriptor.size => {
                let (expected, got) = (descriptor.size, descriptor.size + 1);
                return Err(fail(Problem::Length {
                    expected,
                    got,
                    more: true,
                }));
            }
            other => other.map_err(|e| fail(e.into()))?,
        };
        verify(Some(&descriptor.digest), Some(descriptor.size), &bytes).map_err(fail)?;
        let config = read_config(descriptor, &bytes)?;
        let there = Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone(),
        };
        let wanted = &self.store.inner.platform;
        if (&there.os, &there.architecture) != (&wanted.os, &wanted.architecture) {
            return Err(PullCause::Foreign {
                there: Box::new(there),
                wanted: Box::new(wanted.clone()),
            });
        }
        Ok(bytes)
    }

    /// After a failure: what nobody else needs goes, unless it may serve the next try.
    async fn tidy(&self, cause: &PullCause, layers: &[Descriptor]) {
        if let PullCause::Part {
            problem: Problem::Registry(e),
            ..
        } = cause
            && e.is_transient()
        {
            return;
        }
        let store = self.store.clone();
        let blobs: Vec<_> = layers.iter().map(|l| l.digest.clone()).collect();
        let tidied = blocking(move || {
            for blob in blobs.iter().filter(|b| !store.inner.blob_locks.is_held(b)) {
                remove_tree(&store.inner.layout.part(blob))?;
            }
            store.collect()
        });
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "cannot tidy up after a failed pull");
        }
    }
}

/// Checks length, then digest, and returns the latter.
fn verify(promised: Option<&Digest>, size: Option<u64>, bytes: &[u8]) -> Result<Digest, Problem> {
    let got = bytes.len() as u64;
    if let Some(expected) = size.filter(|size| *size != got) {
        return Err(Problem::Length {
            expected,
            got,
            more: false,
        });
    }
    let Some(expected) = promised else {
        return Ok(Digest::of(bytes));
    };
    let mut hasher = expected.hasher();
    hasher.update(bytes);
    let got = hasher.finish();
    if got == *expected {
        return Ok(got);
    }
    Err(Problem::Digest {
        expected: expected.clone(),
        got,
    })
}

fn read_config(descriptor: &Descriptor, bytes: &[u8]) -> Result<ImageConfiguration, PullCause> {
    serde_json::from_slice(bytes).map_err(|e| {
        let problem = Problem::Config(format!("malformed: {e}"));
        PullCause::Part {
            part: format!("config {}", descriptor.digest),
            problem,
        }
    })
}

/// The layers' ids, one for each blob of the manifest.
fn diff_ids(resolved: &Resolved, config: &ImageConfiguration) -> Result<Vec<DiffId>, PullCause> {
    let fail = |problem| PullCause::Part {
        part: format!("config {}", resolved.config.digest),
        problem,
    };
    let texts = config.rootfs().diff_ids();
    if texts.len() != resolved.layers.len() {
        let (ids, layers) = (texts.len(), resolved.layers.len());
        let what = format!("it has {ids} diff_ids, the manifest has {layers} layers");
        return Err(fail(Problem::Config(what)));
    }
    let ids: Result<Vec<_>, _> = texts.iter().map(|text| text.parse()).collect();
    ids.map_err(|e| fail(Problem::Name(e)))
}
