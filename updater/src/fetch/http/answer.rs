//! An answer as it comes in: what its status means, its bytes, and how fast they come.
//!
//! Sends nothing.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Response, StatusCode, Uri, header};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::SourceError;
use super::Settings;
use super::connect::Connection;

/// An answer with bytes to come.
pub(super) struct Answer {
    place: String,
    body: Incoming,
    connection: Connection,
    began: Instant,
}

impl Answer {
    /// Reads the status; `None` when there is no such file. `got` is emptied when the answer begins
    /// at the first byte.
    pub(super) fn of(
        (answer, connection): (Response<Incoming>, Connection),
        url: &Uri,
        got: &mut Vec<u8>,
        limit: u64,
    ) -> Result<Option<Self>, SourceError> {
        let place = url.to_string();
        match answer.status() {
            StatusCode::OK => got.clear(),
            StatusCode::PARTIAL_CONTENT if range_start(&answer) == Some(got.len() as u64) => {}
            StatusCode::PARTIAL_CONTENT => {
                got.clear();
                let message = "the server sent another range than it was asked for".to_owned();
                return Err(SourceError::Broken { place, message });
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status => {
                let status = status.as_u16();
                return Err(SourceError::Status { place, status });
            }
        }
        let coming = answer.headers().get(header::CONTENT_LENGTH);
        let coming = coming.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if coming.is_some_and(|coming| coming.saturating_add(got.len() as u64) > limit) {
            return Err(SourceError::TooLong { place, limit });
        }
        Ok(Some(Self {
            place,
            body: answer.into_body(),
            connection,
            began: Instant::now(),
        }))
    }

    /// An answer to be read whatever its status is.
    pub(super) fn whole((answer, connection): (Response<Incoming>, Connection), url: &Uri) -> Self {
        Self {
            place: url.to_string(),
            body: answer.into_body(),
            connection,
            began: Instant::now(),
        }
    }

    /// The next bytes, or `None` at the end.
    pub(super) async fn next(&mut self, settings: &Settings) -> Result<Option<Bytes>, SourceError> {
        loop {
            let broken = |message| SourceError::Broken {
                place: self.place.clone(),
                message,
            };
            match timeout(settings.stall, self.body.frame()).await {
                Err(_) => {
                    let seconds = settings.stall.as_secs_f32();
                    return Err(broken(format!("no byte for {seconds} s")));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broken(words(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Whoever gives a byte now and then holds us no longer than `patience`.
    pub(super) fn is_fast_enough(
        &self,
        bytes: u64,
        settings: &Settings,
    ) -> Result<(), SourceError> {
        let took = self.began.elapsed();
        let seconds = took.as_secs();
        // Our own limit on the rate is not the server's fault.
        let least = settings.rate.unwrap_or(u64::MAX).min(settings.least) / 2;
        if took < settings.patience || bytes >= least.saturating_mul(seconds) {
            return Ok(());
        }
        Err(SourceError::Slow {
            place: self.place.clone(),
            bytes,
            seconds,
        })
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }
}

/// An error of hyper and its cause.
pub(super) fn words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// `bytes 100-199/200` begins at 100.
fn range_start(answer: &Response<Incoming>) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let range = range.trim().strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

/// Keeps to a rate by waiting after what came too fast.
pub(super) struct Pace {
    rate: Option<u64>,
    next: Instant,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    pub(super) async fn keep(&mut self, bytes: u64) {
        let Some(rate) = self.rate else {
            return;
        };
        // What was not used while nothing was fetched is not made up for.
        self.next = self.next.max(Instant::now());
        self.next += Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        sleep_until(self.next).await;
    }
}
