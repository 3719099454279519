//! The wire of a connection, narrow until its login: so much time, so many bytes.
//!
//! It knows nothing of SSH: whoever has not logged in within the limits is read from no more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Time to log in.
pub const TIME: Duration = Duration::from_secs(30);
/// Bytes until then: a key exchange and a dozen of large keys.
pub const BYTES: usize = 64 * 1024;

/// Whether the connection has logged in.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// No limits from here on.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A stream behind a latch.
#[derive(Debug)]
pub struct Gate<S> {
    stream: S,
    latch: Latch,
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Gate<S> {
    /// Begins to count.
    pub fn new(stream: S, latch: Latch, time: Duration) -> Self {
        Self {
            stream,
            latch,
            deadline: Box::pin(sleep(time)),
            left: BYTES,
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.latch.is_open() {
            return Ok(());
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending if self.left == 0 => Err(io::ErrorKind::FileTooLarge.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        self.left = self.left.saturating_sub(count);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_says_nothing_is_left_after_the_time() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut gate = Gate::new(ours, Latch::default(), Duration::from_millis(20));
        let error = gate.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_says_too_much_is_left_and_after_the_login_nothing_is_counted() {
        for is_open in [false, true] {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let latch = Latch::default();
            if is_open {
                latch.open();
            }
            let mut gate = Gate::new(ours, latch, TIME);
            let talk = tokio::spawn(async move { theirs.write_all(&[7; 2 * BYTES]).await });
            let mut all = Vec::new();
            let outcome = gate.read_to_end(&mut all).await;
            match is_open {
                true => assert_eq!(all.len(), 2 * BYTES),
                false => assert!(outcome.is_err() && all.len() <= BYTES + 4096),
            }
            drop(gate);
            let _ = talk.await;
        }
    }
}
