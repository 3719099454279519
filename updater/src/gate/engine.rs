//! The engine's health socket: read until a verdict, or until the whole picture was told once.
//!
//! It blocks the thread that it runs on, never longer than asked.

use super::{Gate, Verdict};
use formats::health::{Line, MAX_LINE};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Between two looks at the clock, and two tries to connect.
const LOOK: Duration = Duration::from_millis(250);

/// Time since the kernel started.
#[must_use]
pub fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Judges within `patience`.
#[must_use]
pub fn judge(socket: &Path, expected: &[String], patience: Duration) -> Verdict {
    let mut gate = Gate::new(expected, now() + patience);
    let mut client = None;
    loop {
        if let Some(verdict) = gate.verdict(now()) {
            return verdict;
        }
        if client.is_none() {
            client = Client::connect(socket);
        }
        match client.as_mut().map(Client::next) {
            Some(Next::Line(line)) => gate.take(line, now()),
            Some(Next::Nothing) => {}
            Some(Next::End) => {
                client = None;
                gate.lost();
                std::thread::sleep(LOOK);
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

/// The units that are healthy now; none when nobody tells within `patience`.
#[must_use]
pub fn healthy(socket: &Path, patience: Duration) -> Option<Vec<String>> {
    let deadline = now() + patience;
    let mut client = Client::connect(socket)?;
    let mut units = Vec::new();
    while now() < deadline {
        match client.next() {
            Next::Line(Line::Unit(unit)) if unit.is_healthy() => units.push(unit.unit),
            Next::Line(Line::Synced) => {
                units.sort();
                return Some(units);
            }
            Next::Line(_) | Next::Nothing => {}
            Next::End => return None,
        }
    }
    None
}

struct Client {
    stream: BufReader<UnixStream>,
    begun: Vec<u8>,
}

enum Next {
    Line(Line),
    Nothing,
    End,
}

impl Client {
    fn connect(socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(LOOK)).ok()?;
        Some(Self {
            stream: BufReader::with_capacity(MAX_LINE, stream),
            begun: Vec::new(),
        })
    }

    fn next(&mut self) -> Next {
        let left = (MAX_LINE - self.begun.len().min(MAX_LINE)) as u64;
        let read = (&mut self.stream)
            .take(left)
            .read_until(b'\n', &mut self.begun);
        match read {
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock
                        | std::io::ErrorKind::TimedOut
                        | std::io::ErrorKind::Interrupted
                ) =>
            {
                Next::Nothing
            }
            Ok(n) if n > 0 && self.begun.ends_with(b"\n") => {
                let line = std::mem::take(&mut self.begun);
                // A line that a later engine added is none of ours.
                serde_json::from_slice(&line).map_or(Next::Nothing, Next::Line)
            }
            _ => Next::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    const WEB: &str = r#"{"line":"unit","unit":"web.service","origin":"local","active":"active","health":"unchecked","restarts":0,"since_us":3}"#;

    /// An engine that says this to each client, and then keeps the connection or not.
    fn engine(lines: String, stays: bool) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("health.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                let _ = (&stream).write_all(lines.as_bytes());
                if stays {
                    kept.push(stream);
                }
            }
        });
        (folder, socket)
    }

    #[test]
    fn the_healthy_set_is_what_the_engine_tells_until_it_is_in_step() {
        let told = format!(
            "{{\"line\":\"hello\",\"format\":1,\"boot_id\":\"b\"}}\n{WEB}\n{{\"line\":\"later\"}}\n{{\"line\":\"synced\"}}\n"
        );
        let (_folder, socket) = engine(told, true);
        let units = healthy(&socket, Duration::from_secs(20));
        assert_eq!(units, Some(vec!["web.service".to_owned()]));
    }

    #[test]
    fn an_engine_that_ends_or_is_not_there_tells_nothing() {
        let (folder, socket) = engine(format!("{WEB}\n"), false);
        assert_eq!(healthy(&socket, Duration::from_secs(20)), None);
        assert_eq!(
            healthy(&folder.path().join("none"), Duration::from_secs(20)),
            None
        );
        let verdict = judge(&socket, &[], Duration::from_millis(600));
        assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
    }
}
