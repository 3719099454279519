//! Where a repository's files come from: a server, or a folder.
//!
//! A source is not trusted: it may give anything, at any length, at any speed, or nothing.

use std::future::Future;
use std::io;

use super::Counted;

/// A place that has the files of a repository (see [`formats::repository`]).
pub trait Source {
    /// A whole file of at most `limit` bytes; `None` where there is none of that name.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn get(
        &mut self,
        path: &str,
        limit: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, SourceError>>;

    /// What it was asked so far: its `fetched` and `requests`.
    fn asked(&self) -> Counted;

    /// Told that the last file was not what it should be. Whether there is another place that the same
    /// file may be had from, which is asked first from now on.
    fn elsewhere(&mut self) -> bool {
        false
    }
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Longer than it may be.
    #[error("{place}: expected at most {limit} bytes: there are more, or it does not end")]
    TooLong {
        /// The file.
        place: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// A folder cannot be read.
    #[error("read {place}: {source}")]
    Io {
        /// The file.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// No URL that can be fetched from.
    #[error("{place:?}: expected http:// or https:// with a host")]
    Url {
        /// What it is.
        place: String,
    },
    /// The name has no address.
    #[error("{host}: no address: {message}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        message: String,
    },
    /// Nobody answers, or in the middle no more.
    #[error("{place}: {message}")]
    Broken {
        /// The server or file.
        place: String,
        /// Why.
        message: String,
    },
    /// The server is not who it should be, or nobody we trust says so.
    #[error("{place}: its certificate is refused: {message}")]
    Certificate {
        /// The server.
        place: String,
        /// Why.
        message: String,
    },
    /// The certificates that we trust cannot be read.
    #[error("trusted certificates: {0}")]
    Trust(String),
    /// The proxy does not let us through.
    #[error("proxy {place}: {message}")]
    Proxy {
        /// The proxy.
        place: String,
        /// What it says.
        message: String,
    },
    /// It leads on and on.
    #[error("{place}: more than {limit} redirects")]
    Redirects {
        /// The file.
        place: String,
        /// How many are followed.
        limit: usize,
    },
    /// It leads to where we do not go.
    #[error("{place}: redirects to {to:?}: no URL, or without TLS")]
    RedirectRefused {
        /// The file.
        place: String,
        /// Where.
        to: String,
    },
    /// An answer that is no success.
    #[error("{place}: the server says {status}")]
    Status {
        /// The file.
        place: String,
        /// HTTP's number.
        status: u16,
    },
    /// It gives bytes, too few to ever end.
    #[error("{place}: {bytes} bytes in {seconds} s: too slow")]
    Slow {
        /// The file.
        place: String,
        /// Bytes.
        bytes: u64,
        /// Seconds.
        seconds: u64,
    },
}

impl SourceError {
    /// Whether another try at the same place may go better.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Resolve { .. } | Self::Proxy { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 416 | 429 | 500..=599),
            _ => false,
        }
    }
}
