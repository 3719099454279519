//! Lines as they arrive from a machine: serial console, QMP, agent, or a server's log.
//!
//! It never sleeps and never polls: a waiter is woken by the reading thread or by its deadline.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a wait ended without its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The deadline passed.
    Timeout,
    /// The other end is gone, so the line can no longer come.
    Closed,
}

/// A stream's lines, kept from its first byte.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    partial: Vec<u8>,
    closed: bool,
    tee: bool,
}

impl Feed {
    /// Reads `source` to its end on a thread of its own; every byte also goes to `log`.
    pub fn watch(source: impl Read + Send + 'static, log: Option<File>) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let writer = shared.clone();
        std::thread::spawn(move || writer.read_all(source, log));
        Self { shared }
    }

    /// Lines so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// Whether nothing has arrived yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all lines so far, the unfinished last one included.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let state = self.state();
        let mut lines = state.lines.clone();
        if !state.partial.is_empty() {
            lines.push(text(&state.partial));
        }
        lines
    }

    /// Copies what arrives from now on to standard output, byte for byte.
    pub fn tee(&self, on: bool) {
        self.state().tee = on;
    }

    /// Waits for the first line, at index `from` or later, for which `look` gives something.
    /// Returns the index after that line and what was found.
    ///
    /// # Errors
    /// [`Missed`] when the deadline passes or the stream ends first.
    pub fn wait<T>(
        &self,
        from: usize,
        timeout: Duration,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<(usize, T), Missed> {
        let deadline = Instant::now() + timeout;
        let mut next = from;
        let mut state = self.state();
        loop {
            while next < state.lines.len() {
                let found = look(&state.lines[next]);
                next += 1;
                if let Some(found) = found {
                    return Ok((next, found));
                }
            }
            if state.closed {
                return Err(Missed::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missed::Timeout);
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for the end of the stream.
    ///
    /// # Errors
    /// [`Missed::Timeout`].
    pub fn wait_closed(&self, timeout: Duration) -> Result<(), Missed> {
        match self.wait(usize::MAX, timeout, |_| None::<()>) {
            Err(Missed::Timeout) => Err(Missed::Timeout),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_all(&self, mut source: impl Read, mut log: Option<File>) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let bytes = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Some(log) = &mut log {
                let _ = log.write_all(bytes);
            }
            self.take(bytes);
        }
        let mut state = self.lock();
        if !state.partial.is_empty() {
            let last = std::mem::take(&mut state.partial);
            state.lines.push(text(&last));
        }
        state.closed = true;
        self.changed.notify_all();
    }

    fn take(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.tee {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            state.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut state.partial);
                state.lines.push(text(&line));
            }
        }
        self.changed.notify_all();
    }
}

/// A console line as a person reads it: no line end, no escape sequences.
fn text(bytes: &[u8]) -> String {
    let raw = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(raw.len());
    let mut chars = raw.trim_end_matches(['\r', '\n']).chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\r' | '\u{0}' => {}
            c => line.push(c),
        }
    }
    line
}

fn skip_escape(chars: &mut std::str::Chars<'_>) {
    if chars.next() == Some('[') {
        for c in chars.by_ref() {
            if c.is_ascii_alphabetic() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_line_cut_into_pieces_is_one_line_without_its_escapes() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let feed = Feed::watch(there, None);
        here.write_all(b"sk\x1b[2Jeg: [ 1.4").unwrap();
        here.write_all(b"50] init\r\nnext").unwrap();
        let found = feed.wait(0, SOON, |l| l.contains("init").then(|| l.to_owned()));
        assert_eq!(found, Ok((1, "skeg: [ 1.450] init".to_owned())));
    }

    #[test]
    fn a_closed_stream_ends_a_wait_before_its_deadline() {
        let (here, there) = UnixStream::pair().unwrap();
        let feed = Feed::watch(there, None);
        drop(here);
        let missed = feed.wait(0, Duration::from_secs(600), |_| None::<()>);
        assert_eq!(missed, Err(Missed::Closed));
    }

    #[test]
    fn a_deadline_ends_a_wait() {
        let (_here, there) = UnixStream::pair().unwrap();
        let feed = Feed::watch(there, None);
        let missed = feed.wait(0, Duration::from_millis(10), |_| None::<()>);
        assert_eq!(missed, Err(Missed::Timeout));
    }
}
