//! A repository on a server: HTTP/1.1, connections kept, tried again where the last try ended.
//!
//! Trusts no answer: lengths are bounded while reading, redirects and slowness too.

mod answer;
mod connect;

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use tokio::time::sleep;

use self::answer::{Answer, Pace};
use self::connect::Connector;
use super::{Counted, Source, SourceError};

/// What a source must know of the host.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trusted authorities, PEM: the public ones, and the host's own.
    pub authorities: Vec<PathBuf>,
    /// `http://HOST:PORT` of a proxy that all requests go through.
    pub proxy: Option<String>,
    /// Bytes a second, at most; none: as fast as it goes.
    pub rate: Option<u64>,
    /// How long to wait for a connection, per address.
    pub connect: Duration,
    /// How long to wait for the next byte.
    pub stall: Duration,
    /// How often to try in all.
    pub tries: u32,
    /// The pause before the second try, doubled for each further one.
    pub pause: Duration,
    /// A file that took this long must have come at [`Settings::least`] or faster.
    pub patience: Duration,
    /// Bytes a second.
    pub least: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authorities: vec![PathBuf::from("/etc/ssl/certs/ca-certificates.crt")],
            proxy: None,
            rate: None,
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            tries: 4,
            pause: Duration::from_secs(1),
            patience: Duration::from_secs(60),
            least: 256,
        }
    }
}

/// A repository on a server.
pub struct HttpSource {
    base: String,
    settings: Settings,
    connector: Connector,
    pace: Pace,
    asked: Counted,
}

impl HttpSource {
    /// The repository below this URL.
    ///
    /// # Errors
    /// When it is none, or the proxy's is none.
    pub fn new(url: &str, settings: Settings) -> Result<Self, SourceError> {
        let base = url.trim_end_matches('/').to_owned();
        parse(&base)?;
        let proxy = settings.proxy.as_deref().map(parse).transpose()?;
        Ok(Self {
            base,
            connector: Connector::new(settings.clone(), proxy),
            pace: Pace::new(settings.rate),
            settings,
            asked: Counted::default(),
        })
    }

    /// Sends a body, once; gives the answer's status and what it says, up to `limit` bytes.
    ///
    /// # Errors
    /// Nobody answers, or at too great a length.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        limit: u64,
    ) -> Result<(u16, Vec<u8>), SourceError> {
        let url = parse(&format!("{}/{path}", self.base))?;
        let (answer, connection) = self.connector.post(&url, headers, body).await?;
        let status = answer.status().as_u16();
        let mut answer = Answer::whole((answer, connection), &url);
        let mut got = Vec::new();
        while let Some(bytes) = answer.next(&self.settings).await? {
            if (got.len() + bytes.len()) as u64 > limit {
                let place = url.to_string();
                return Err(SourceError::TooLong { place, limit });
            }
            got.extend_from_slice(&bytes);
            answer.is_fast_enough(got.len() as u64, &self.settings)?;
        }
        Ok((status, got))
    }

    /// One try, going on after what `got` has.
    async fn once(
        &mut self,
        url: &Uri,
        limit: u64,
        got: &mut Vec<u8>,
    ) -> Result<Option<()>, SourceError> {
        let answer = self.connector.follow(url, got.len() as u64).await?;
        let Some(mut answer) = Answer::of(answer, url, got, limit)? else {
            return Ok(None);
        };
        let before = self.asked.fetched;
        while let Some(bytes) = answer.next(&self.settings).await? {
            self.asked.fetched += bytes.len() as u64;
            if (got.len() + bytes.len()) as u64 > limit {
                let place = url.to_string();
                return Err(SourceError::TooLong { place, limit });
            }
            got.extend_from_slice(&bytes);
            answer.is_fast_enough(self.asked.fetched - before, &self.settings)?;
            self.pace.keep(bytes.len() as u64).await;
        }
        self.connector.keep(answer.into_connection());
        Ok(Some(()))
    }
}

impl Source for HttpSource {
    async fn get(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let url = parse(&format!("{}/{path}", self.base))?;
        let mut got = Vec::new();
        let mut pause = self.settings.pause;
        for tries_left in (0..self.settings.tries.max(1)).rev() {
            self.asked.requests += 1;
            match self.once(&url, limit, &mut got).await {
                Ok(found) => return Ok(found.map(|()| got)),
                Err(error) if tries_left == 0 || !error.is_passing() => return Err(error),
                // The range may not be there any more.
                Err(SourceError::Status { status: 416, .. }) => got.clear(),
                Err(_) => {}
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        Ok(None)
    }

    fn asked(&self) -> Counted {
        self.asked
    }
}

/// An absolute URL of `http` or `https`, without a user's name.
fn parse(text: &str) -> Result<Uri, SourceError> {
    let place = || SourceError::Url {
        place: text.chars().take(200).collect(),
    };
    let url: Uri = text.parse().map_err(|_| place())?;
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let host = url.host().is_some_and(|host| !host.is_empty());
    let user = url.authority().is_some_and(|a| a.as_str().contains('@'));
    (scheme && host && !user).then_some(url).ok_or_else(place)
}
