//! HTTP/1.1 for sources: one request, tried again while the server cannot answer, as Ignition says.
//!
//! Bounds what comes; shows no query, header or body in an error.

mod connect;
mod proxy;

pub use proxy::Proxies;

use crate::resource::{LARGEST, shown};
use connect::Connector;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response, Uri, header};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MAX_REDIRECTS: usize = 10;
const USER_AGENT: &str = concat!("skeg/", env!("CARGO_PKG_VERSION"));
/// Between two tries: the first pause, doubled each time, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How to ask.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trusted authorities, PEM files.
    pub authorities: Vec<PathBuf>,
    /// More of them, PEM.
    pub more_authorities: Vec<Vec<u8>>,
    /// Proxies.
    pub proxies: Proxies,
    /// How long to wait for a connection, and for the headers of an answer.
    pub headers: Option<Duration>,
    /// How long a resource may take with all tries; none: for ever.
    pub total: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authorities: vec!["/etc/ssl/certs/ca-certificates.crt".into()],
            more_authorities: Vec::new(),
            proxies: Proxies::default(),
            headers: Some(Duration::from_secs(10)),
            total: None,
        }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
enum Failure {
    /// It may be there the next time.
    Passing(String),
    /// It will not.
    Lasting(String),
}

/// Asks and waits for the answer; an answer of 5xx or 429 and a broken connection are tried again.
///
/// # Errors
/// What went wrong last, in words without secrets.
pub fn ask(
    method: &Method,
    url: &str,
    headers: &[(String, String)],
    settings: &Settings,
) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("start the event loop: {e}"))?;
    runtime.block_on(again_and_again(method, url, headers, settings))
}

async fn again_and_again(
    method: &Method,
    url: &str,
    headers: &[(String, String)],
    settings: &Settings,
) -> Result<Answer, String> {
    let begun = Instant::now();
    let mut pause = PAUSE.0;
    loop {
        let left = settings
            .total
            .map(|total| total.saturating_sub(begun.elapsed()));
        let once = follow(method, url, headers, settings);
        let failure = match within(left, once).await {
            None => Failure::Passing("no answer in time".to_owned()),
            Some(Ok(answer)) if answer.status < 500 && answer.status != 429 => return Ok(answer),
            Some(Ok(answer)) => Failure::Passing(format!("the server answered {}", answer.status)),
            Some(Err(failure)) => failure,
        };
        let text = match failure {
            Failure::Lasting(text) => return Err(format!("{}: {text}", shown(url))),
            Failure::Passing(text) => text,
        };
        let over = settings
            .total
            .is_some_and(|total| begun.elapsed() + pause >= total);
        if over {
            return Err(format!("{}: {text}", shown(url)));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn within<T>(left: Option<Duration>, what: impl Future<Output = T>) -> Option<T> {
    match left {
        None => Some(what.await),
        Some(left) => tokio::time::timeout(left, what).await.ok(),
    }
}

/// Follows redirects; headers of the document's go to the first server alone, and never from TLS to none.
async fn follow(
    method: &Method,
    url: &str,
    headers: &[(String, String)],
    settings: &Settings,
) -> Result<Answer, Failure> {
    let mut at = parse(url)?;
    let mut connector = Connector::new(settings);
    for hop in 0..=MAX_REDIRECTS {
        let headers = if hop == 0 { headers } else { &[] };
        let answer = once(method, &at, headers, &mut connector, settings).await?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let to = answer.headers.get(header::LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or_default();
        let lasting = |text: &str| Failure::Lasting(text.to_owned());
        let next = join(&at, to).ok_or_else(|| lasting("was redirected to what is no URL"))?;
        if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
            return Err(lasting("was redirected from https to http"));
        }
        at = next;
    }
    Err(Failure::Lasting("was redirected too often".to_owned()))
}

async fn once(
    method: &Method,
    url: &Uri,
    headers: &[(String, String)],
    connector: &mut Connector<'_>,
    settings: &Settings,
) -> Result<Answer, Failure> {
    let passing = |text: String| Failure::Passing(text);
    let asking = async {
        let (mut sender, absolute) = connector.connect(url).await?;
        let request = request(method, url, headers, absolute)?;
        let sent = sender.send_request(request).await;
        sent.map_err(|e| passing(words(&e)))
    };
    let answer = within(settings.headers, asking).await;
    let answer = answer.unwrap_or_else(|| Err(passing("no answer in time".to_owned())))?;
    read(answer).await
}

fn request(
    method: &Method,
    url: &Uri,
    headers: &[(String, String)],
    absolute: bool,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let target = match absolute {
        true => url.to_string(),
        false => target.to_owned(),
    };
    let host = url.authority().map_or("", |host| host.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host);
    let named = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !named("user-agent") {
        request = request.header(header::USER_AGENT, USER_AGENT);
    }
    if !named("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
        .body(Empty::new())
        .map_err(|e| Failure::Lasting(e.to_string()))
}

async fn read(answer: Response<Incoming>) -> Result<Answer, Failure> {
    let (parts, mut incoming) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|e| Failure::Passing(words(&e)))?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if (body.len() + bytes.len()) as u64 > LARGEST {
            let text = format!("is larger than {} MiB", LARGEST >> 20);
            return Err(Failure::Lasting(text));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    })
}

fn parse(text: &str) -> Result<Uri, Failure> {
    let url: Option<Uri> = text.parse().ok();
    let good = |url: &Uri| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|h| !h.is_empty())
    };
    url.filter(good)
        .ok_or_else(|| Failure::Lasting("expected a URL of http or https".to_owned()))
}

fn join(from: &Uri, to: &str) -> Option<Uri> {
    if to.starts_with("http://") || to.starts_with("https://") {
        return parse(to).ok();
    }
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let folder = from
        .path()
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let target = match to.as_bytes().first()? {
        b'/' => to.to_owned(),
        _ => format!("{folder}/{to}"),
    };
    parse(&format!("{scheme}://{authority}{target}")).ok()
}

fn words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
