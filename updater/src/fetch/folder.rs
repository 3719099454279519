//! A repository in a folder: a USB stick, or any mounted file system.
//!
//! Not trusted more than a server: lengths are bounded while reading.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Counted, Source, SourceError};

/// A repository in a folder.
#[derive(Debug)]
pub struct FolderSource {
    folder: PathBuf,
    asked: Counted,
}

impl FolderSource {
    /// The repository in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            asked: Counted::default(),
        }
    }
}

impl Source for FolderSource {
    async fn get(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.asked.requests += 1;
        let place = self.folder.join(path);
        let named = |source| SourceError::Io {
            place: place.display().to_string(),
            source,
        };
        let file = match File::open(&place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(named)?,
        };
        // Neither a pipe that never ends nor a device that never answers.
        if !file.metadata().map_err(named)?.is_file() {
            return Err(named(io::Error::other("expected a file")));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(named)?;
        self.asked.fetched += bytes.len() as u64;
        if bytes.len() as u64 > limit {
            let place = place.display().to_string();
            return Err(SourceError::TooLong { place, limit });
        }
        Ok(Some(bytes))
    }

    fn asked(&self) -> Counted {
        self.asked
    }
}
