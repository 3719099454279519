//! Mirrors in order: the next one is asked where one fails, and the one that worked is asked first.
//!
//! All have the same files; one that has something else instead is passed over like one that fails.

use super::{Counted, FolderSource, HttpSource, Source, SourceError};

/// A server or a folder.
pub enum Mirror {
    /// A server.
    Http(Box<HttpSource>),
    /// A folder.
    Folder(FolderSource),
}

impl Source for Mirror {
    async fn get(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        match self {
            Self::Http(source) => source.get(path, limit).await,
            Self::Folder(source) => source.get(path, limit).await,
        }
    }

    fn asked(&self) -> Counted {
        match self {
            Self::Http(source) => source.asked(),
            Self::Folder(source) => source.asked(),
        }
    }
}

/// Mirrors of one repository.
pub struct Mirrors<S> {
    mirrors: Vec<S>,
    first: usize,
    /// The last file, and how many mirrors had something else instead.
    last: String,
    refused: usize,
}

impl<S: Source> Mirrors<S> {
    /// Asks these in order.
    #[must_use]
    pub const fn new(mirrors: Vec<S>) -> Self {
        Self {
            mirrors,
            first: 0,
            last: String::new(),
            refused: 0,
        }
    }
}

impl<S: Source> Source for Mirrors<S> {
    /// The first one's file; where all fail, the last one's error; `None` only if all lack it.
    async fn get(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        if self.last != path {
            path.clone_into(&mut self.last);
            self.refused = 0;
        }
        let mut failed = None;
        for turn in 0..self.mirrors.len() {
            let index = (self.first + turn) % self.mirrors.len();
            match self.mirrors[index].get(path, limit).await {
                Ok(Some(bytes)) => {
                    self.first = index;
                    return Ok(Some(bytes));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn elsewhere(&mut self) -> bool {
        self.refused += 1;
        self.first = (self.first + 1) % self.mirrors.len().max(1);
        self.refused < self.mirrors.len()
    }

    fn asked(&self) -> Counted {
        let each = self.mirrors.iter().map(Source::asked);
        each.fold(Counted::default(), |sum, one| Counted {
            fetched: sum.fetched + one.fetched,
            requests: sum.requests + one.requests,
            ..sum
        })
    }
}
