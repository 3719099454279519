//! What a container has written, as raw or multiplexed bytes.
//!
//! It only renders: what comes, and when, is [`follow`]'s to say.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::super::asked::Asked;
use super::super::refusal::Refusal;
use super::super::{Arced, time};
use super::{Id, find};
use crate::engine::log::read::Chunk;
use crate::engine::log::{Stream, follow};

/// Of streams with a head before each piece.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Of a terminal's stream.
pub const RAW: &str = "application/vnd.docker.raw-stream";

/// A piece of one stream: kind, three zero bytes, length, all big-endian.
pub fn piece(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let kind = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut whole = vec![kind, 0, 0, 0];
    whole.extend_from_slice(&length);
    whole.extend_from_slice(bytes);
    whole
}

/// What of a log is wanted.
#[derive(Debug, Clone)]
struct Wanted {
    follow: bool,
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    tail: Option<u64>,
    since: u64,
    until: Option<u64>,
    raw: bool,
}

impl Wanted {
    fn new(asked: &Asked, raw: bool) -> Result<Self, Refusal> {
        let moment = |key: &str| {
            let text = asked.text(key).filter(|t| *t != "0");
            let read = text.map(time::moment).transpose();
            read.map_err(|e| Refusal::invalid(format!("{key}: {e}")))
        };
        let wanted = Self {
            follow: asked.flag("follow"),
            stdout: asked.flag("stdout"),
            stderr: asked.flag("stderr"),
            timestamps: asked.flag("timestamps"),
            tail: asked.text("tail").and_then(|t| t.parse().ok()),
            since: moment("since")?.unwrap_or(0),
            until: moment("until")?,
            raw,
        };
        if !wanted.stdout && !wanted.stderr {
            return Err(Refusal::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        Ok(wanted)
    }

    fn shown(&self, line: &Chunk) -> Option<Vec<u8>> {
        let is_on = match line.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        if !is_on || self.until.is_some_and(|until| line.time_ns > until) {
            return None;
        }
        let mut bytes = Vec::new();
        if self.timestamps {
            bytes.extend_from_slice(time::padded(line.time_ns).as_bytes());
            bytes.push(b' ');
        }
        bytes.extend_from_slice(&line.bytes);
        Some(match self.raw {
            true => bytes,
            false => piece(line.stream, &bytes),
        })
    }
}

pub async fn logs(Shared(engine): Arced, Path(id): Id, asked: Asked) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    let raw = container.config.options.tty;
    let wanted = Wanted::new(&asked, raw)?;
    let (sender, receiver) = mpsc::channel(16);
    let of_log = follow::Wanted {
        follow: wanted.follow && wanted.until.is_none(),
        since_ns: wanted.since,
        tail: wanted.tail,
    };
    tokio::spawn(async move {
        let shown = |line: &Chunk| wanted.shown(line);
        follow::follow(&container, of_log, shown, sender).await;
    });
    let kind = [(header::CONTENT_TYPE, if raw { RAW } else { MULTIPLEXED })];
    Ok((kind, stream(receiver)).into_response())
}

/// A body of what comes through a channel.
pub fn stream(receiver: mpsc::Receiver<Vec<u8>>) -> Body {
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece: Vec<u8> = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_piece() {
        assert_eq!(piece(Stream::Stderr, b"hi"), b"\x02\0\0\0\0\0\0\x02hi");
        assert_eq!(piece(Stream::Stdout, b""), b"\x01\0\0\0\0\0\0\0");
    }
}
