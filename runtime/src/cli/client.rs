//! HTTP to the engine over its socket.
//!
//! One connection a request. It knows no verb.

use std::io;
use std::path::PathBuf;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::error::CliError;
use crate::engine::api::ErrorBody;

/// Where the engine listens, unless `SKEG_SOCKET` says otherwise.
pub fn socket() -> PathBuf {
    std::env::var_os("SKEG_SOCKET").map_or_else(
        || PathBuf::from(formats::paths::ENGINE_SOCKET),
        PathBuf::from,
    )
}

/// Sends a request and returns a response of status 2xx or 101.
pub async fn send(
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
    upgrade: bool,
) -> Result<Response<Incoming>, CliError> {
    let socket = socket();
    let stream = UnixStream::connect(&socket)
        .await
        .map_err(|e| unreachable(&socket, &e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "skeg");
    if upgrade {
        request = request
            .header("connection", "upgrade")
            .header("upgrade", "skeg");
    }
    let bytes = match body {
        None => Bytes::new(),
        Some(body) => {
            request = request.header("content-type", "application/json");
            serde_json::to_vec(body).map_err(|e| broken(&e))?.into()
        }
    };
    let request = request.body(Full::new(bytes)).map_err(|e| broken(&e))?;
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let status = response.status();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|e| broken(&e))?
        .to_bytes();
    Err(match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => body.into(),
        Err(_) => CliError::engine(format!("engine answered {status} to {path}")),
    })
}

/// Sends a request and reads the JSON answer.
pub async fn json<T: DeserializeOwned>(
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T, CliError> {
    let response = send(method, path, body, false).await?;
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|e| broken(&e))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|e| broken(&e))
}

/// `GET`, as JSON.
pub async fn get<T: DeserializeOwned>(path: &str) -> Result<T, CliError> {
    json(Method::GET, path, None::<&()>).await
}

/// `POST` or `DELETE` without a body and without an answer that matters.
pub async fn order(method: Method, path: &str) -> Result<(), CliError> {
    send(method, path, None::<&()>, false).await.map(|_| ())
}

/// Hands each line of an NDJSON answer to `each`.
pub async fn lines<T: DeserializeOwned>(
    response: Response<Incoming>,
    mut each: impl FnMut(T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut body = response.into_body();
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| broken(&e))?;
        pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            each(serde_json::from_slice(&line).map_err(|e| broken(&e))?)?;
        }
    }
    Ok(())
}

/// Escapes one segment of a path or a query's value.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~:@/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn unreachable(socket: &std::path::Path, e: &io::Error) -> CliError {
    let socket = socket.display();
    CliError::engine(match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "the engine is not running: nothing listens at {socket}; see 'skeg status' on the host, or set SKEG_SOCKET"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("the engine's socket {socket} is open to root only: permission denied")
        }
        _ => format!("connect to the engine at {socket}: {e}"),
    })
}

fn broken(e: &dyn std::error::Error) -> CliError {
    let mut text = format!("talk to the engine: {e}");
    let mut cause = e.source();
    while let Some(e) = cause {
        text.push_str(&format!(": {e}"));
        cause = e.source();
    }
    CliError::engine(text)
}
