//! One request to the API, one answer: over a socket, TCP or TLS.
//!
//! It keeps no connection and follows no redirect.

use super::Arguments;
use crate::api::pem;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// An answer is waited for this long.
const TIMEOUT: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Place {
    Socket(PathBuf),
    Tcp(String),
    Tls(String, Arc<ClientConfig>),
}

/// Where the API is, and who asks.
pub(super) struct Client {
    place: Place,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, String> {
        let endpoint = arguments.endpoint.trim_end_matches('/');
        let place = if let Some(host) = endpoint.strip_prefix("https://") {
            Place::Tls(host.to_owned(), Arc::new(tls(arguments)?))
        } else if let Some(host) = endpoint.strip_prefix("http://") {
            Place::Tcp(host.to_owned())
        } else {
            let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
            Place::Socket(path.into())
        };
        let token = arguments.token.as_deref().map(token).transpose()?;
        Ok(Self { place, token })
    }

    /// Asks; a failure is in the API's own words.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let asked = tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await;
        let (status, bytes) =
            asked.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let message = value["error"]["message"].as_str();
        let message = message.map_or_else(
            || String::from_utf8_lossy(&bytes).into_owned(),
            str::to_owned,
        );
        Err(format!("{message} ({})", status.as_u16()))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(Method::GET, path, None).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Bytes), String> {
        let (stream, host) = self.connect().await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|e| format!("{host}: {e}"))?;
        tokio::spawn(connection);
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", &host)
            .header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(bytes))
            .map_err(|e| format!("{path}: {e}"))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| format!("{host}: {e}"))?;
        let status = answer.status();
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| format!("{host}: {e}"))?;
        Ok((status, bytes.to_bytes()))
    }

    async fn connect(&self) -> Result<(Box<dyn Stream>, String), String> {
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|e| {
                    format!(
                        "{}: {e}: does `skeg fleet engine` run here? else name one with --endpoint",
                        path.display()
                    )
                })?;
                Ok((Box::new(stream), "localhost".to_owned()))
            }
            Place::Tcp(host) => Ok((Box::new(tcp(host).await?), host.clone())),
            Place::Tls(host, config) => {
                let stream = tcp(host).await?;
                let name = host
                    .rsplit_once(':')
                    .map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|e| format!("{host}: {e}"))?;
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name, stream).await;
                Ok((
                    Box::new(stream.map_err(|e| format!("{host}: {e}"))?),
                    host.clone(),
                ))
            }
        }
    }
}

async fn tcp(host: &str) -> Result<TcpStream, String> {
    TcpStream::connect(host)
        .await
        .map_err(|e| format!("{host}: {e}"))
}

fn token(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("read {}: {e}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn tls(arguments: &Arguments) -> Result<ClientConfig, String> {
    let ca = arguments.ca.as_deref();
    let ca = ca.ok_or("expected --ca FILE beside https://: no other certificate is trusted")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(pem::roots(ca)?);
    match (&arguments.cert, &arguments.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(pem::certificates(cert)?, pem::private_key(key)?)
            .map_err(|e| format!("{}: {e}", cert.display())),
        _ => Ok(builder.with_no_client_auth()),
    }
}
