//! One GET over one connection, and the redirects that it leads to.
//!
//! It knows nothing of registries. A secret goes to the origin it is for and to no other.

use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::answer::{Body, Connection};
use super::connect::{self, Connector};
use super::error::RegistryError;
use super::url::Url;

const MAX_REDIRECTS: usize = 5;
const USER_AGENT: &str = concat!("skeg/", env!("CARGO_PKG_VERSION"));

/// Sends requests.
pub struct Transport {
    connector: Connector,
    stall: Duration,
}

impl Transport {
    /// A transport that waits `stall` for the next byte.
    pub const fn new(connector: Connector, stall: Duration) -> Self {
        Self { connector, stall }
    }

    /// Follows redirects. The secret stays with the origin it is for.
    pub async fn follow(
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
        let connection = Connection::new(tokio::spawn(async move {
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
        let stall = self.stall;
        let place = connect::place(url);
        match timeout(stall, sender.send_request(request)).await {
            Ok(Ok(answer)) => {
                Ok(answer.map(|incoming| Body::new(incoming, place, stall, connection)))
            }
            Ok(Err(e)) => Err(failed(&e)),
            Err(_) => Err(RegistryError::Stalled {
                place,
                after: stall,
            }),
        }
    }
}
