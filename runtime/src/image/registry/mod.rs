//! A registry's pull side: manifests and blobs over HTTP/1.1, with tokens, redirects and ranges.
//!
//! It verifies nothing it hands out: digests and lengths are the store's to check. Small answers are
//! tried for again within [`Retry`]; a large blob is one try, since only the store knows how far it came.

mod challenge;
mod connect;
mod credentials;
mod error;
mod retry;
mod url;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::digest::Digest;
use super::manifest::{self, MAX_MANIFEST};
use super::registries::Endpoint;
use challenge::Challenge;
use connect::Connector;
pub use connect::Trust;
pub use credentials::{AUTH_FILE, Credentials, Login};
pub use error::RegistryError;
pub use retry::Retry;
use url::Url;

const MAX_REDIRECTS: usize = 5;
const MAX_TOKEN: u64 = 1 << 20;
const MAX_ERROR: u64 = 64 << 10;
const USER_AGENT: &str = concat!("skeg/", env!("CARGO_PKG_VERSION"));

/// What a client needs to know of the host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where credentials lie.
    pub auth_file: PathBuf,
    /// Where trusted certificates lie.
    pub trust: Trust,
    /// How long to wait for a connection, per address.
    pub connect: Duration,
    /// How long to wait for the next byte.
    pub stall: Duration,
    /// How often to try, and how long to wait between.
    pub retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth_file: PathBuf::from(AUTH_FILE),
            trust: Trust::default(),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            retry: Retry::default(),
        }
    }
}

/// A client for one pull: it remembers tokens and what it read from the host's files.
pub struct Client {
    settings: Settings,
    connector: Connector,
    credentials: Credentials,
    /// `Authorization` by host and repository.
    tokens: Mutex<HashMap<(String, String), HeaderValue>>,
}

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
    body: Body,
}

#[derive(Debug)]
struct Body {
    incoming: Incoming,
    place: String,
    stall: Duration,
    _connection: Connection,
}

/// The task that drives a connection, ended with the answer that needs it.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client that reads the host's credentials now and its certificates when it needs them.
    ///
    /// # Errors
    /// When the credentials file is malformed.
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        Ok(Self {
            credentials: Credentials::load(&settings.auth_file)?,
            connector: Connector::new(settings.trust.clone(), settings.connect),
            tokens: Mutex::default(),
            settings,
        })
    }

    /// How often to try, and how long to wait between.
    #[must_use]
    pub const fn retry(&self) -> &Retry {
        &self.settings.retry
    }

    /// Fetches a manifest by tag or digest.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn manifest(
        &self,
        endpoint: &Endpoint,
        wanted: &str,
    ) -> Result<RawManifest, RegistryError> {
        let mut failed = 0;
        loop {
            match self.manifest_once(endpoint, wanted).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => {
                    failed += 1;
                    self.retry().pause(failed, error).await?;
                }
            }
        }
    }

    async fn manifest_once(
        &self,
        endpoint: &Endpoint,
        wanted: &str,
    ) -> Result<RawManifest, RegistryError> {
        let url = url_of(endpoint, &format!("manifests/{wanted}"))?;
        let accept = (header::ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        let answer = self.get(endpoint, &url, &[accept]).await?;
        let content_type = answer.headers().get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let bytes = answer.into_body().read(MAX_MANIFEST).await?;
        Ok(RawManifest {
            content_type,
            bytes,
        })
    }

    /// Fetches a small blob whole.
    ///
    /// # Errors
    /// See [`RegistryError`]; also when it is longer than `limit`.
    pub async fn small_blob(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut failed = 0;
        loop {
            match self.small_blob_once(endpoint, digest, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    failed += 1;
                    self.retry().pause(failed, error).await?;
                }
            }
        }
    }

    async fn small_blob_once(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        self.blob(endpoint, digest, 0).await?.body.read(limit).await
    }

    /// Begins to fetch a blob from `offset` on.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn blob(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        offset: u64,
    ) -> Result<Blob, RegistryError> {
        let url = url_of(endpoint, &format!("blobs/{digest}"))?;
        let mut headers = Vec::new();
        if offset > 0 {
            headers.push((
                header::RANGE,
                HeaderValue::from_str(&format!("bytes={offset}-")),
            ));
        }
        let headers: Vec<_> = headers
            .into_iter()
            .filter_map(|(n, v)| Some((n, v.ok()?)))
            .collect();
        let answer = match self.get(endpoint, &url, &headers).await {
            // The registry has less than we have, or does not do ranges: from the beginning.
            Err(RegistryError::Status { status: 416, .. }) if offset > 0 => {
                self.get(endpoint, &url, &[]).await?
            }
            other => other?,
        };
        let offset = match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                range_start(&answer).ok_or_else(|| RegistryError::Protocol {
                    place: url.authority.clone(),
                    message: "answers 206 without a Content-Range that can be read".to_owned(),
                })?
            }
            _ => 0,
        };
        let length = number(&answer, &header::CONTENT_LENGTH);
        let is_chunked = answer.headers().contains_key(header::TRANSFER_ENCODING);
        let has_clear_end = length.is_some() || is_chunked;
        Ok(Blob {
            offset,
            length,
            has_clear_end,
            body: answer.into_body(),
        })
    }

    /// One GET, answered with 200 or 206; asks for a token if the registry wants one.
    async fn get(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Body>, RegistryError> {
        let key = (endpoint.host.clone(), endpoint.repository.clone());
        let token = self.tokens().get(&key).cloned();
        let answer = self.follow(url, endpoint.insecure, token, headers).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return succeed(answer).await;
        }
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|v| challenge::parse(v.to_str().ok()?));
        let Some(challenge) = challenge else {
            return succeed(answer).await;
        };
        drop(answer);
        let token = self.authorize(endpoint, challenge).await?;
        self.tokens().insert(key, token.clone());
        let answer = self
            .follow(url, endpoint.insecure, Some(token), headers)
            .await?;
        succeed(answer).await
    }

    async fn authorize(
        &self,
        endpoint: &Endpoint,
        challenge: Challenge,
    ) -> Result<HeaderValue, RegistryError> {
        let login = self
            .credentials
            .find(&endpoint.registry, &endpoint.repository);
        let basic = login.map(|l| secret(&l.basic())).transpose()?;
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
        else {
            let place = &endpoint.host;
            let none =
                || RegistryError::Denied(format!("{place} wants a login, auth.json has none"));
            return basic.ok_or_else(none);
        };
        let protocol = |message: String| {
            let place = endpoint.host.clone();
            RegistryError::Protocol { place, message }
        };
        let mut url = Url::parse(&realm)
            .filter(|url| url.is_https || endpoint.insecure)
            .ok_or_else(|| protocol(format!("sends us to `{realm}` for a token")))?;
        if let Some(service) = service {
            url::add_query(&mut url.target, "service", &service);
        }
        let pull = || format!("repository:{}:pull", endpoint.repository);
        url::add_query(&mut url.target, "scope", &scope.unwrap_or_else(pull));
        let answer = self.follow(&url, endpoint.insecure, basic, &[]).await?;
        let bytes = succeed(answer).await?.into_body().read(MAX_TOKEN).await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|e| protocol(format!("token is malformed: {e}")))?;
        let token = token.token.or(token.access_token);
        let token = token.ok_or_else(|| protocol("no token in the answer".to_owned()))?;
        secret(&format!("Bearer {token}"))
    }

    /// Follows redirects. The secret stays with the origin it is for.
    async fn follow(
        &self,
        url: &Url,
        insecure: bool,
        secret: Option<HeaderValue>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Body>, RegistryError> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let secret = secret.as_ref().filter(|_| at.is_same_origin(url));
            let answer = self.send(&at, secret, headers).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION);
            let next = location.and_then(|l| at.join(l.to_str().ok()?));
            at = next
                .filter(|next| next.is_https || insecure)
                .ok_or_else(|| {
                    let message = "redirects to where we may not go".to_owned();
                    RegistryError::Protocol {
                        place: at.authority.clone(),
                        message,
                    }
                })?;
        }
        let message = format!("more than {MAX_REDIRECTS} redirects");
        Err(RegistryError::Protocol {
            place: url.authority.clone(),
            message,
        })
    }

    async fn send(
        &self,
        url: &Url,
        secret: Option<&HeaderValue>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Body>, RegistryError> {
        let failed = |e: &dyn std::fmt::Display| RegistryError::Transport {
            place: connect::place(url),
            message: e.to_string(),
        };
        let stream = TokioIo::new(self.connector.connect(url).await?);
        let handshake = hyper::client::conn::http1::handshake(stream);
        let (mut sender, connection) = handshake.await.map_err(|e| failed(&e))?;
        let connection = Connection(tokio::spawn(async move {
            // Its error reaches the answer's body.
            let _ = connection.await;
        }));
        let mut request = Request::get(url.target.as_str())
            .header(header::HOST, &url.authority)
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(secret) = secret {
            request = request.header(header::AUTHORIZATION, secret);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|e| failed(&e))?;
        let stall = self.settings.stall;
        let place = connect::place(url);
        match timeout(stall, sender.send_request(request)).await {
            Ok(Ok(answer)) => Ok(answer.map(|incoming| Body {
                incoming,
                place,
                stall,
                _connection: connection,
            })),
            Ok(Err(e)) => Err(failed(&e)),
            Err(_) => Err(RegistryError::Stalled {
                place,
                after: stall,
            }),
        }
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), HeaderValue>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
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

    async fn read(mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
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
struct Token {
    token: Option<String>,
    access_token: Option<String>,
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
async fn succeed(answer: Response<Body>) -> Result<Response<Body>, RegistryError> {
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

fn number(answer: &Response<Body>, name: &HeaderName) -> Option<u64> {
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
fn range_start(answer: &Response<Body>) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range
        .trim()
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn url_of(endpoint: &Endpoint, what: &str) -> Result<Url, RegistryError> {
    let scheme = if endpoint.insecure { "http" } else { "https" };
    let text = format!(
        "{scheme}://{}/v2/{}/{what}",
        endpoint.host, endpoint.repository
    );
    Url::parse(&text).ok_or_else(|| RegistryError::Protocol {
        place: endpoint.host.clone(),
        message: format!("`{text}` is no URL"),
    })
}

/// A header that is never printed.
fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| RegistryError::Credentials("not fit for an HTTP header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
