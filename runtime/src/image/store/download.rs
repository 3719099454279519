//! Downloads one layer's blob into `ingest`: resumed where it broke off, verified as it streams.
//!
//! The file is whole and verified when [`download`] returns it, and gone when the registry sent
//! something else than promised. A broken connection leaves the part for the next try.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::digest::{Digest, Hasher};
use super::super::manifest::Descriptor;
use super::super::registries::Endpoint;
use super::super::registry::{Blob, Client, RegistryError};
use super::error::Problem;

/// Bytes gathered before they are hashed and written, off the runtime's thread.
const CHUNK: usize = 512 << 10;
/// A try that brought at least this much does not count as failed.
const HEADWAY: u64 = 1 << 20;

/// What one download is about.
pub struct Download<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Who is asked.
    pub endpoint: &'a Endpoint,
    /// What was promised.
    pub descriptor: &'a Descriptor,
    /// Where the bytes go.
    pub path: PathBuf,
    /// Set when another layer of the image failed.
    pub given_up: &'a AtomicBool,
}

/// A file that grows, and the hash of what it holds.
struct Part {
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Download<'_> {
    /// Runs the download; `progress` is told the bytes that are there.
    ///
    /// # Errors
    /// See [`Problem`].
    pub async fn run(&self, progress: impl Fn(u64)) -> Result<File, Problem> {
        let result = self.attempt_all(&progress).await;
        let keeps_part = match &result {
            Ok(_) | Err(Problem::GivenUp) => true,
            Err(Problem::Registry(e)) => e.is_transient(),
            Err(_) => false,
        };
        let is_empty = || self.path.metadata().is_ok_and(|m| m.len() == 0);
        if !keeps_part || (result.is_err() && is_empty()) {
            let _ = std::fs::remove_file(&self.path);
        }
        result
    }

    async fn attempt_all(&self, progress: &impl Fn(u64)) -> Result<File, Problem> {
        let (path, digest) = (self.path.clone(), self.descriptor.digest.clone());
        let mut part = blocking(move || Part::open(&path, &digest)).await?;
        if part.length > self.descriptor.size {
            part = part.restart().await?;
        }
        let found = part.length;
        part = self.fill(part, progress).await?;
        if found > 0 && part.hasher.clone().finish() != self.descriptor.digest {
            // What an earlier run left may have been damaged by a power cut.
            part = self.fill(part.restart().await?, progress).await?;
        }
        let got = part.hasher.finish();
        if got != self.descriptor.digest {
            return Err(Problem::Digest {
                expected: self.descriptor.digest.clone(),
                got,
            });
        }
        let mut file = part.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// Requests until the file is as long as it must be.
    async fn fill(&self, mut part: Part, progress: &impl Fn(u64)) -> Result<Part, Problem> {
        let mut failed = 0;
        while part.length < self.descriptor.size {
            let before = part.length;
            let (kept, result) = self.attempt(part, progress).await?;
            part = kept;
            match result {
                Ok(()) => {}
                Err(Problem::Registry(error)) => {
                    failed = if part.length >= before + HEADWAY {
                        1
                    } else {
                        failed + 1
                    };
                    self.client.retry().pause(failed, error).await?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(part)
    }

    /// One request. The part comes back with whatever it brought.
    async fn attempt(
        &self,
        mut part: Part,
        progress: &impl Fn(u64),
    ) -> Result<(Part, Result<(), Problem>), Problem> {
        let (digest, size) = (&self.descriptor.digest, self.descriptor.size);
        let mut blob = match self.client.blob(self.endpoint, digest, part.length).await {
            Ok(blob) => blob,
            Err(error) => return Ok((part, Err(error.into()))),
        };
        if blob.offset != part.length {
            part = part.restart().await?;
        }
        if blob.offset > part.length {
            let (place, message) = (
                blob.place().to_owned(),
                "answers with another range".to_owned(),
            );
            return Err(RegistryError::Protocol { place, message }.into());
        }
        if let Some(length) = blob.length
            && blob.offset.saturating_add(length) != size
        {
            let got = blob.offset.saturating_add(length);
            return Err(Problem::Length {
                expected: size,
                got,
                more: false,
            });
        }
        loop {
            let (bytes, end) = self.gather(&mut blob, size - part.length).await?;
            part = part.append(bytes).await?;
            progress(part.length);
            match end {
                None => {}
                Some(Err(error)) => {
                    let error = cut(error, part.length, size);
                    return Ok((part, Err(error.into())));
                }
                Some(Ok(())) => {
                    let end = self.judge_end(&blob, part.length);
                    return Ok((part, end));
                }
            }
        }
    }

    /// Reads up to a chunk; `Some` with the end or the error that came after it.
    async fn gather(
        &self,
        blob: &mut Blob,
        room: u64,
    ) -> Result<(Vec<u8>, Option<Result<(), RegistryError>>), Problem> {
        let mut bytes = Vec::new();
        while bytes.len() < CHUNK {
            if self.given_up.load(Ordering::Relaxed) {
                return Err(Problem::GivenUp);
            }
            match blob.next().await {
                Ok(Some(more)) => bytes.extend_from_slice(&more),
                Ok(None) => return Ok((bytes, Some(Ok(())))),
                Err(error) => return Ok((bytes, Some(Err(error)))),
            }
            if bytes.len() as u64 > room {
                let expected = self.descriptor.size;
                let got = expected - room + bytes.len() as u64;
                return Err(Problem::Length {
                    expected,
                    got,
                    more: true,
                });
            }
        }
        Ok((bytes, None))
    }

    fn judge_end(&self, blob: &Blob, got: u64) -> Result<(), Problem> {
        let expected = self.descriptor.size;
        if got == expected {
            return Ok(());
        }
        if blob.has_clear_end {
            return Err(Problem::Length {
                expected,
                got,
                more: false,
            });
        }
        Err(RegistryError::Cut {
            place: blob.place().to_owned(),
            got,
            expected,
            message: "the connection was closed".to_owned(),
        }
        .into())
    }
}

impl Part {
    /// Opens what an earlier try left, and hashes it again.
    fn open(path: &Path, digest: &Digest) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut hasher = digest.hasher();
        let mut buffer = vec![0; 256 << 10];
        let mut length = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => {
                    return Ok(Self {
                        file,
                        hasher,
                        length,
                    });
                }
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    length += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn append(mut self, bytes: Vec<u8>) -> io::Result<Self> {
        blocking(move || {
            self.hasher.update(&bytes);
            self.file.write_all(&bytes)?;
            self.length += bytes.len() as u64;
            Ok(self)
        })
        .await
    }

    async fn restart(mut self) -> io::Result<Self> {
        blocking(move || {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.length = 0;
            self.hasher = match self.hasher {
                Hasher::Sha256(_) => Hasher::new(super::super::digest::Algorithm::Sha256),
                Hasher::Sha512(_) => Hasher::new(super::super::digest::Algorithm::Sha512),
            };
            Ok(self)
        })
        .await
    }
}

/// A connection that breaks within a blob did reach the registry: what counts is how far it came.
fn cut(error: RegistryError, got: u64, expected: u64) -> RegistryError {
    match error {
        RegistryError::Transport { place, message } => RegistryError::Cut {
            place,
            got,
            expected,
            message,
        },
        other => other,
    }
}

/// Runs file work off the runtime's thread.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_layer_is_told_by_how_far_it_came_and_tried_again() {
        let broken = RegistryError::Transport {
            place: "registry.test".into(),
            message: "end of file before message length reached".into(),
        };
        let error = cut(broken, 12, 40);
        assert_eq!(
            error.to_string(),
            "registry.test: ended after 12 of 40 bytes: end of file before message length reached"
        );
        assert!(error.is_transient());
    }
}
