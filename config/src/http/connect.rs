//! Connections: names resolved in Rust, TCP, proxy, TLS with the host's authorities and the document's.
//!
//! Never calls the C resolver, and keeps no connection: a configuration asks each server once or twice.

use super::{Failure, Settings, words};
use hickory_resolver::TokioResolver;
use http_body_util::Empty;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const MAX_PROXY_ANSWER: usize = 8 << 10;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens connections.
pub(super) struct Connector<'a> {
    settings: &'a Settings,
}

impl<'a> Connector<'a> {
    pub(super) const fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    /// A connection for a URL, and whether requests on it name the whole URL.
    pub(super) async fn connect(
        &mut self,
        url: &Uri,
    ) -> Result<(SendRequest<Empty<Bytes>>, bool), Failure> {
        let secure = url.scheme_str() == Some("https");
        let proxy = self.settings.proxies.of(url);
        let proxy = proxy.map_err(|text| Failure::Lasting(text.to_owned()))?;
        let mut tcp = tcp(proxy.as_ref().unwrap_or(url)).await?;
        if proxy.is_some() && secure {
            tunnel(&mut tcp, url).await.map_err(Failure::Passing)?;
        }
        let stream: Box<dyn Stream> = match secure {
            true => self.secure(url, tcp).await?,
            false => Box::new(tcp),
        };
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|e| Failure::Passing(words(&e)))?;
        // Its error reaches whoever reads the answer.
        tokio::spawn(async move { drop(driver.await) });
        Ok((sender, proxy.is_some() && !secure))
    }

    async fn secure(&self, url: &Uri, tcp: TcpStream) -> Result<Box<dyn Stream>, Failure> {
        let config = self.authorities().map_err(Failure::Lasting)?;
        let name = ServerName::try_from(host(url).to_owned());
        let name = name.map_err(|e| Failure::Lasting(e.to_string()))?;
        let shaken = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await;
        match shaken {
            Ok(stream) => Ok(Box::new(stream)),
            // A clock that is not set yet makes good certificates bad: all of these may pass.
            Err(e) => Err(Failure::Passing(format!("TLS: {e}"))),
        }
    }

    fn authorities(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        let files = self
            .settings
            .authorities
            .iter()
            .filter_map(|path| std::fs::read(path).ok());
        for pem in files.chain(self.settings.more_authorities.iter().cloned()) {
            let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
            roots.add_parsable_certificates(found);
        }
        if roots.is_empty() {
            return Err("no certificate authority is trusted: there are none".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

async fn tcp(url: &Uri) -> Result<TcpStream, Failure> {
    let mut text = "no address".to_owned();
    for address in addresses(host(url)).await.map_err(Failure::Passing)? {
        match TcpStream::connect((address, port(url))).await {
            Ok(stream) => return Ok(stream),
            Err(e) => text = format!("{address}: {e}"),
        }
    }
    Err(Failure::Passing(text))
}

async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    // Made anew each time: the network may have come up since.
    let resolver = TokioResolver::builder_tokio()
        .and_then(hickory_resolver::ResolverBuilder::build)
        .map_err(|e| format!("resolve {host}: {e}"))?;
    let found = resolver.lookup_ip(host).await;
    let found = found.map_err(|e| format!("resolve {host}: {e}"))?;
    Ok(found.iter().collect())
}

/// Asks a proxy for a way through to the URL's server (RFC 9110, section 9.3.6).
async fn tunnel(tcp: &mut TcpStream, url: &Uri) -> Result<(), String> {
    let (host, port) = (url.host().unwrap_or_default(), port(url));
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    let sent = tcp.write_all(request.as_bytes()).await;
    sent.map_err(|e| format!("proxy: {e}"))?;
    let mut answer = Vec::new();
    // Byte by byte: what comes after the answer is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > MAX_PROXY_ANSWER {
            return Err("proxy: an answer without end".to_owned());
        }
        answer.push(tcp.read_u8().await.map_err(|e| format!("proxy: {e}"))?);
    }
    let text = String::from_utf8_lossy(&answer);
    match text.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err("proxy: it refuses to connect".to_owned()),
    }
}

/// Without the brackets of an IPv6 address.
pub(super) fn host(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

pub(super) fn port(url: &Uri) -> u16 {
    let default = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    url.port_u16().unwrap_or(default)
}
