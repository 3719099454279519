//! A container's log for somebody who reads it: line by line from where they want it, for as long as they do.
//!
//! It renders nothing: how a line is sent is the reader's to say. A line without an end comes when the
//! container has ended.

use tokio::sync::mpsc;

use super::lines::{Lines, Tail};
use super::read::{Chunk, Reader};
use crate::engine::container::Container;
use crate::engine::record::Phase;
use crate::engine::session;

/// What of a log is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whether to go on while the container does.
    pub follow: bool,
    /// No line before this, nanoseconds since the epoch.
    pub since_ns: u64,
    /// So many lines from the end; none = all.
    pub tail: Option<u64>,
}

/// Sends what is wanted as `shown` renders it; what that leaves out is not sent.
pub async fn follow(
    container: &Container,
    wanted: Wanted,
    shown: impl Fn(&Chunk) -> Option<Vec<u8>>,
    to: mpsc::Sender<Vec<u8>>,
) {
    let mut bell = container.log.bell();
    let mut state = container.watch();
    let mut reader = Reader::new(container.log.folder());
    let mut lines = Lines::default();
    let mut sieve = Sieve {
        since_ns: wanted.since_ns,
        tail: None,
        shown,
        to,
    };
    let mut is_first = true;
    loop {
        bell.mark_unchanged();
        let up = {
            let state = state.borrow_and_update();
            state.phase == Phase::Restarting
                || state.phase != Phase::Created && session::ended(&state).is_none()
        };
        let going_on = wanted.follow && up;
        let read = async {
            if std::mem::take(&mut is_first)
                && let Some(limit) = wanted.tail
            {
                let measured = measure(container, wanted.since_ns, limit, going_on).await;
                sieve.tail = Some(measured?);
            }
            // Sent chunk by chunk: a long log is never held as a whole.
            while let Some(chunk) = reader.next_chunk()? {
                let mut whole = Vec::new();
                lines.push(&chunk, &mut whole);
                if !sieve.send(whole).await {
                    return Ok(false);
                }
            }
            Ok::<_, std::io::Error>(true)
        };
        match read.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return tracing::error!("read the log of {}: {e}", container.config.name),
        }
        if !going_on {
            let mut rest = Vec::new();
            lines.finish(&mut rest);
            sieve.send(rest).await;
            return;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
            () = sieve.to.closed() => return,
        }
    }
}

/// What lines pass on their way to the reader.
struct Sieve<S> {
    since_ns: u64,
    tail: Option<Tail>,
    shown: S,
    to: mpsc::Sender<Vec<u8>>,
}

impl<S: Fn(&Chunk) -> Option<Vec<u8>>> Sieve<S> {
    /// False when nobody listens any more.
    async fn send(&mut self, mut lines: Vec<Chunk>) -> bool {
        lines.retain(|line| line.time_ns >= self.since_ns);
        if let Some(tail) = &mut self.tail {
            tail.filter(&mut lines);
        }
        for bytes in lines.iter().filter_map(&self.shown) {
            if self.to.send(bytes).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Counts off the runtime's thread: a log may be long.
async fn measure(
    container: &Container,
    since_ns: u64,
    limit: u64,
    follow: bool,
) -> std::io::Result<Tail> {
    let folder = container.log.folder().to_path_buf();
    tokio::task::spawn_blocking(move || Tail::measure(&folder, since_ns, limit, follow))
        .await
        .map_err(std::io::Error::other)?
}
