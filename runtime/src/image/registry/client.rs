//! The client that a pull uses: what a registry is asked for, and the token it wants for it.
//!
//! Tokens live as long as the client. Secrets are never in an error's text.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Deserialize;

use super::super::digest::Digest;
use super::super::manifest::{self, MAX_MANIFEST};
use super::super::registries::Endpoint;
use super::answer::{self, Blob, Body, RawManifest};
use super::challenge::{self, Challenge};
use super::connect::Connector;
use super::credentials::Credentials;
use super::error::RegistryError;
use super::transport::Transport;
use super::url::{self, Url};
use super::{Retry, Settings};

const MAX_TOKEN: u64 = 1 << 20;

type Headers<'a> = &'a [(HeaderName, HeaderValue)];
type Tokens = HashMap<(String, String), HeaderValue>;

/// A client for one pull: it remembers tokens and what it read from the host's files.
pub struct Client {
    settings: Settings,
    transport: Transport,
    credentials: Credentials,
    /// `Authorization` by host and repository.
    tokens: Mutex<Tokens>,
}

impl Client {
    /// A client that reads the host's credentials now and its certificates when it needs them.
    ///
    /// # Errors
    /// When the credentials file is malformed.
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        let connector = Connector::new(settings.trust.clone(), settings.connect);
        Ok(Self {
            credentials: Credentials::load(&settings.auth_file)?,
            transport: Transport::new(connector, settings.stall),
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

    /// Asks whether the registry lets us in at all; of the endpoint, the repository is empty.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn knock(&self, endpoint: &Endpoint) -> Result<(), RegistryError> {
        let scheme = if endpoint.insecure { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/", endpoint.host);
        let url = Url::parse(&text).ok_or_else(|| RegistryError::Protocol {
            place: endpoint.host.clone(),
            message: format!("`{text}` is no URL"),
        })?;
        self.get(endpoint, &url, &[]).await.map(drop)
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
                answer::range_start(&answer).ok_or_else(|| RegistryError::Protocol {
                    place: url.authority.clone(),
                    message: "answers 206 without a Content-Range that can be read".to_owned(),
                })?
            }
            _ => 0,
        };
        let length = answer::number(&answer, &header::CONTENT_LENGTH);
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
        headers: Headers<'_>,
    ) -> Result<Response<Body>, RegistryError> {
        let key = (endpoint.host.clone(), endpoint.repository.clone());
        let token = self.tokens().get(&key).cloned();
        let answer = self
            .transport
            .follow(url, endpoint.insecure, token, headers)
            .await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return answer::succeed(answer).await;
        }
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|v| challenge::parse(v.to_str().ok()?));
        let Some(challenge) = challenge else {
            return answer::succeed(answer).await;
        };
        drop(answer);
        let token = self.authorize(endpoint, challenge).await?;
        self.tokens().insert(key, token.clone());
        let answer = self
            .transport
            .follow(url, endpoint.insecure, Some(token), headers)
            .await?;
        answer::succeed(answer).await
    }

    async fn authorize(
        &self,
        endpoint: &Endpoint,
        challenge: Challenge,
    ) -> Result<HeaderValue, RegistryError> {
        let given = self.settings.login.as_ref();
        let given = given.filter(|(registry, _)| *registry == endpoint.registry);
        let login = given.map(|(_, login)| login).or_else(|| {
            self.credentials
                .find(&endpoint.registry, &endpoint.repository)
        });
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
        let pull = || {
            let repository = &endpoint.repository;
            (!repository.is_empty()).then(|| format!("repository:{repository}:pull"))
        };
        if let Some(scope) = scope.or_else(pull) {
            url::add_query(&mut url.target, "scope", &scope);
        }
        let answer = self
            .transport
            .follow(&url, endpoint.insecure, basic, &[])
            .await?;
        let bytes = answer::succeed(answer)
            .await?
            .into_body()
            .read(MAX_TOKEN)
            .await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|e| protocol(format!("token is malformed: {e}")))?;
        let token = token.token.or(token.access_token);
        let token = token.ok_or_else(|| protocol("no token in the answer".to_owned()))?;
        secret(&format!("Bearer {token}"))
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
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
