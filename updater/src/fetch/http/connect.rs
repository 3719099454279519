//! Connections: names resolved in Rust, TCP, proxy, and TLS by rustls with the host's authorities.
//!
//! Never calls the C resolver, which a static program does not have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::SourceError;
use super::answer::words;
use super::{Settings, parse};

const MAX_REDIRECTS: usize = 5;
/// A repository and the servers that it leads to.
const MAX_KEPT: usize = 4;
const MAX_PROXY_ANSWER: usize = 8 << 10;
const USER_AGENT: &str = concat!("skeg/", env!("CARGO_PKG_VERSION"));

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection to one server, or through the proxy to it.
pub(super) struct Connection {
    origin: String,
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens connections, and keeps those that may be used again.
pub(super) struct Connector {
    settings: Settings,
    proxy: Option<Uri>,
    tls: Option<Arc<ClientConfig>>,
    resolver: Option<TokioResolver>,
    kept: Vec<Connection>,
}

impl Connector {
    pub(super) const fn new(settings: Settings, proxy: Option<Uri>) -> Self {
        Self {
            settings,
            proxy,
            tls: None,
            resolver: None,
            kept: Vec::new(),
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn keep(&mut self, connection: Connection) {
        if self.kept.len() == MAX_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(connection);
    }

    /// Asks for a file from byte `from` on, and follows redirects; never from TLS to none.
    pub(super) async fn follow(
        &mut self,
        url: &Uri,
        from: u64,
    ) -> Result<(Response<Incoming>, Connection), SourceError> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (answer, connection) = self.ask(&at, from).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((answer, connection));
            }
            let to = answer.headers().get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or_default();
            let next = join(&at, to).filter(|next| !is_https(&at) || is_https(next));
            at = next.ok_or_else(|| SourceError::RedirectRefused {
                place: at.to_string(),
                to: to.chars().take(200).collect(),
            })?;
        }
        let (place, limit) = (url.to_string(), MAX_REDIRECTS);
        Err(SourceError::Redirects { place, limit })
    }

    async fn ask(
        &mut self,
        url: &Uri,
        from: u64,
    ) -> Result<(Response<Incoming>, Connection), SourceError> {
        let origin = origin(url);
        if let Some(index) = self.kept.iter().position(|kept| kept.origin == origin) {
            let kept = self.kept.remove(index);
            // The server may have closed it meanwhile: that is no failed try.
            if let Ok(answer) = self.send(url, from, kept).await {
                return Ok(answer);
            }
        }
        let connection = self.connect(url, origin).await?;
        self.send(url, from, connection).await
    }

    /// Sends a body; a redirect is an answer like any other.
    pub(super) async fn post(
        &mut self,
        url: &Uri,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(Response<Incoming>, Connection), SourceError> {
        let connection = self.connect(url, origin(url)).await?;
        let mut request = self.request(Method::POST, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(url, request, body.into(), connection).await
    }

    async fn send(
        &self,
        url: &Uri,
        from: u64,
        connection: Connection,
    ) -> Result<(Response<Incoming>, Connection), SourceError> {
        let mut request = self.request(Method::GET, url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        self.exchange(url, request, Bytes::new(), connection).await
    }

    fn request(&self, method: Method, url: &Uri) -> Builder {
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let absolute = self.proxy.is_some() && !is_https(url);
        let target = if absolute {
            url.to_string()
        } else {
            target.to_owned()
        };
        let host = url.authority().map_or("", |host| host.as_str());
        let request = Request::builder().method(method).uri(target);
        let request = request.header(header::HOST, host);
        request.header(header::USER_AGENT, USER_AGENT)
    }

    async fn exchange(
        &self,
        url: &Uri,
        request: Builder,
        body: Bytes,
        mut connection: Connection,
    ) -> Result<(Response<Incoming>, Connection), SourceError> {
        let broken = |message| SourceError::Broken {
            place: url.to_string(),
            message,
        };
        let request = request
            .body(Full::new(body))
            .map_err(|e| broken(e.to_string()))?;
        let sending = async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        };
        match timeout(self.settings.stall, sending).await {
            Ok(Ok(answer)) => Ok((answer, connection)),
            Ok(Err(error)) => Err(broken(words(&error))),
            Err(_) => Err(broken(format!(
                "no answer for {} s",
                self.settings.stall.as_secs_f32()
            ))),
        }
    }

    async fn connect(&mut self, url: &Uri, origin: String) -> Result<Connection, SourceError> {
        let broken = |message| SourceError::Broken {
            place: origin.clone(),
            message,
        };
        let mut tcp = match self.proxy.clone() {
            None => self.tcp(url).await?,
            Some(proxy) => self.tcp(&proxy).await?,
        };
        if let (Some(proxy), true) = (&self.proxy, is_https(url)) {
            let through = timeout(self.settings.stall, tunnel(&mut tcp, url));
            let message = match through.await {
                Ok(Ok(())) => None,
                Ok(Err(message)) => Some(message),
                Err(_) => Some("no answer".to_owned()),
            };
            if let Some(message) = message {
                let place = proxy.to_string();
                return Err(SourceError::Proxy { place, message });
            }
        }
        let stream: Box<dyn Stream> = if is_https(url) {
            self.secure(url, tcp).await?
        } else {
            Box::new(tcp)
        };
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|e| broken(words(&e)))?;
        // Its error reaches whoever reads the answer.
        let task = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection {
            origin,
            sender,
            task,
        })
    }

    async fn tcp(&mut self, url: &Uri) -> Result<TcpStream, SourceError> {
        let mut message = "no address".to_owned();
        let limit = self.settings.connect;
        for address in self.addresses(host(url)).await? {
            match timeout(limit, TcpStream::connect((address, port(url)))).await {
                Ok(Ok(stream)) => {
                    // Small requests must not wait for the acknowledgement of the one before.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(e)) => message = format!("{address}: {e}"),
                Err(_) => message = format!("{address}: no answer for {} s", limit.as_secs_f32()),
            }
        }
        let place = origin(url);
        Err(SourceError::Broken { place, message })
    }

    async fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, SourceError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        if host == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let failed = |e: &dyn std::fmt::Display| SourceError::Resolve {
            host: host.to_owned(),
            message: e.to_string(),
        };
        let resolver = match self.resolver.clone() {
            Some(resolver) => resolver,
            // Made at the first name, so that addresses work on a host without name servers.
            None => TokioResolver::builder_tokio()
                .and_then(hickory_resolver::ResolverBuilder::build)
                .map_err(|e| failed(&e))?,
        };
        self.resolver = Some(resolver.clone());
        let found = resolver.lookup_ip(host).await.map_err(|e| failed(&e))?;
        Ok(found.iter().collect())
    }

    async fn secure(&mut self, url: &Uri, tcp: TcpStream) -> Result<Box<dyn Stream>, SourceError> {
        let config = match self.tls.clone() {
            Some(config) => config,
            None => Arc::new(self.read_authorities()?),
        };
        self.tls = Some(Arc::clone(&config));
        let place = origin(url);
        let name = ServerName::try_from(host(url).to_owned()).map_err(|e| {
            let (place, message) = (place.clone(), e.to_string());
            SourceError::Certificate { place, message }
        })?;
        let shaking = TlsConnector::from(config).connect(name, tcp);
        match timeout(self.settings.connect, shaking).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(e)) => Err(refused(place, &e)),
            Err(_) => Err(SourceError::Broken {
                place,
                message: "no answer to the TLS handshake".to_owned(),
            }),
        }
    }

    fn read_authorities(&self) -> Result<ClientConfig, SourceError> {
        let mut roots = RootCertStore::empty();
        for path in &self.settings.authorities {
            let failed = |e: String| SourceError::Trust(format!("{}: {e}", path.display()));
            let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            roots.add_parsable_certificates(found.map_err(|e| failed(e.to_string()))?);
        }
        if roots.is_empty() {
            return Err(SourceError::Trust("there are none".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| SourceError::Trust(e.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A wrong certificate stays wrong: that is told from a broken connection.
fn refused(place: String, error: &std::io::Error) -> SourceError {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    let message = error.to_string();
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => SourceError::Certificate { place, message },
        _ => SourceError::Broken { place, message },
    }
}

/// Asks a proxy for a way through to the URL's server (RFC 9110, section 9.3.6).
async fn tunnel(tcp: &mut TcpStream, url: &Uri) -> Result<(), String> {
    let (host, port) = (url.host().unwrap_or_default(), port(url));
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    let sent = tcp.write_all(request.as_bytes()).await;
    sent.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    // Byte by byte: what comes after the answer is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > MAX_PROXY_ANSWER {
            return Err("an answer without end".to_owned());
        }
        answer.push(tcp.read_u8().await.map_err(|e| e.to_string())?);
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(status
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect())
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Without the brackets of an IPv6 address.
fn host(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

fn port(url: &Uri) -> u16 {
    let default = if is_https(url) { 443 } else { 80 };
    url.port_u16().unwrap_or(default)
}

fn origin(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    format!(
        "{scheme}://{}:{}",
        url.host().unwrap_or_default(),
        port(url)
    )
}

/// Follows a `Location` header.
fn join(from: &Uri, to: &str) -> Option<Uri> {
    if to.starts_with("http://") || to.starts_with("https://") {
        return parse(to).ok();
    }
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    if to.starts_with("//") {
        return parse(&format!("{scheme}:{to}")).ok();
    }
    let path = from.path();
    let target = match to.as_bytes().first()? {
        b'/' => to.to_owned(),
        b'?' => format!("{path}{to}"),
        _ => format!("{}{to}", &path[..=path.rfind('/')?]),
    };
    parse(&format!("{scheme}://{authority}{target}")).ok()
}
