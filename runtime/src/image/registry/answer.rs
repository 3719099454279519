//! Answers as they come in: their bytes, and what a status that is no success means.
//!
//! Nothing here sends. Whatever a registry says is bounded in length and cleaned before it is printed.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::RegistryError;

const MAX_ERROR: u64 = 64 << 10;

/// A manifest as the registry sent it.
#[derive(Debug)]
pub struct RawManifest {
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The document.
    pub bytes: Vec<u8>,
}

/// A blob on its way.
#[derive(Debug)]
pub struct Blob {
    /// Where in the blob the bytes begin: 0 if the registry does not do ranges.
    pub offset: u64,
    /// How many bytes will come, if the registry says so.
    pub length: Option<u64>,
    /// Whether the end of the answer is told from a broken connection.
    pub has_clear_end: bool,
    pub(super) body: Body,
}

/// The bytes of an answer, with the connection they come over.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    place: String,
    stall: Duration,
    _connection: Connection,
}

/// The task that drives a connection, ended with the answer that needs it.
#[derive(Debug)]
pub struct Connection(JoinHandle<()>);

impl Connection {
    /// Takes over a task.
    pub const fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Blob {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks or stalls.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.body.next().await
    }

    /// Where it comes from, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.body.place
    }
}

impl Body {
    /// The body of an answer from `place`.
    pub fn new(incoming: Incoming, place: String, stall: Duration, connection: Connection) -> Self {
        Self {
            incoming,
            place,
            stall,
            _connection: connection,
        }
    }

    /// The next bytes, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let place = self.place.clone();
            match timeout(self.stall, self.incoming.frame()).await {
                Err(_) => {
                    return Err(RegistryError::Stalled {
                        place,
                        after: self.stall,
                    });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(e))) => {
                    let message = std::error::Error::source(&e)
                        .map_or_else(|| e.to_string(), |cause| format!("{e}: {cause}"));
                    return Err(RegistryError::Transport { place, message });
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All bytes, up to a limit.
    pub async fn read(mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if (all.len() + bytes.len()) as u64 > limit {
                return Err(RegistryError::TooLong { limit });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Turns any status but 200 and 206 into an error with the registry's own words.
pub async fn succeed(answer: Response<Body>) -> Result<Response<Body>, RegistryError> {
    let status = answer.status();
    if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Ok(answer);
    }
    let retry_after = number(&answer, &header::RETRY_AFTER).map(Duration::from_secs);
    let body = answer.into_body();
    let place = body.place.clone();
    let bytes = body.read(MAX_ERROR).await.unwrap_or_default();
    let words = reasons(&bytes);
    let worded = if words.is_empty() {
        status.to_string()
    } else {
        words.clone()
    };
    Err(match status {
        StatusCode::NOT_FOUND => RegistryError::NotFound(worded),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied(worded),
        _ => {
            let message = if words.is_empty() {
                words
            } else {
                format!(": {words}")
            };
            RegistryError::Status {
                place,
                status: status.as_u16(),
                message,
                retry_after,
            }
        }
    })
}

/// The registry's errors in one line that is safe to print.
fn reasons(bytes: &[u8]) -> String {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(bytes) else {
        return String::new();
    };
    let reasons = refusal.errors.iter().take(3);
    let lines = reasons.map(|r| {
        if r.message.is_empty() {
            &r.code
        } else {
            &r.message
        }
    });
    let line = lines.map(String::as_str).collect::<Vec<_>>().join("; ");
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// A header that is a number.
pub fn number(answer: &Response<Body>, name: &HeaderName) -> Option<u64> {
    answer
        .headers()
        .get(name)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// `bytes 100-199/200` begins at 100.
pub fn range_start(answer: &Response<Body>) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range
        .trim()
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}
