//! The engine's health socket: read until a verdict, or until the whole picture was told once.
//!
//! It blocks the thread that it runs on, never longer than asked.

use super::probes::{self, Places};
use super::{Gate, Verdict};
use formats::health::{Active, Line, MAX_LINE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// At most, before an engine that has hung up is called again.
const AGAIN: Duration = Duration::from_millis(250);
/// Nobody's work is waited for longer.
const HOUR: Duration = Duration::from_secs(3600);
/// Between two measurements of what nobody tells.
const PROBE: Duration = Duration::from_secs(1);

/// Time since the kernel started.
#[must_use]
pub fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Judges within `patience`.
#[must_use]
pub fn judge(socket: &Path, places: &Places, expected: &[String], patience: Duration) -> Verdict {
    let end = now() + patience;
    let mut gate = Gate::new(expected, end);
    let probes: Vec<String> = gate.probes().cloned().collect();
    let mut due = now();
    // Before the first call, so that no engine comes between.
    let arrivals = Arrivals::beside(socket);
    let mut client = None;
    loop {
        if let Some(verdict) = gate.verdict(now()) {
            return verdict;
        }
        if !probes.is_empty() && now() >= due {
            // Slow ones do not put the verdict off.
            for name in probes.iter().take_while(|_| now() < end) {
                gate.probed(name, probes::ask(places, name), now());
            }
            due = now() + PROBE;
        }
        let mut left = gate.due().saturating_sub(now());
        if !probes.is_empty() {
            left = left.min(due.saturating_sub(now()));
        }
        if client.is_none() {
            client = Client::connect(socket);
        }
        match client.as_mut().map(|client| client.next(left)) {
            Some(Next::Line(line)) => gate.take(line, now()),
            Some(Next::Nothing) => {}
            Some(Next::End) => {
                client = None;
                gate.lost();
                arrivals.wait(left.min(AGAIN));
            }
            None => arrivals.wait(left),
        }
    }
}

/// What is healthy now, units and all else, sorted; units only if somebody tells within `patience`.
#[must_use]
pub fn all_healthy(socket: &Path, places: &Places, patience: Duration) -> Vec<String> {
    let mut names = healthy(socket, patience).unwrap_or_default();
    names.extend(probes::holding(places));
    names.sort_unstable();
    names
}

/// Units of this host that have not come to rest since they were started, the last hour's only: for
/// those a reboot may wait. One that is restarted again and again is at no work that could end.
#[must_use]
pub fn at_work(socket: &Path, patience: Duration) -> Vec<String> {
    let deadline = now() + patience;
    let begun = now().saturating_sub(HOUR).as_micros();
    let mut units = Vec::new();
    let Some(mut client) = Client::connect(socket) else {
        return units;
    };
    while now() < deadline {
        match client.next(deadline.saturating_sub(now())) {
            Next::Line(Line::Unit(unit)) => {
                let lately = u128::from(unit.since_us) >= begun;
                if unit.active == Active::Activating && unit.restarts == 0 && lately {
                    units.push(unit.unit);
                }
            }
            Next::Line(Line::Synced) | Next::End => break,
            Next::Line(_) | Next::Nothing => {}
        }
    }
    units
}

/// The units that are healthy now; none when nobody tells within `patience`.
#[must_use]
pub fn healthy(socket: &Path, patience: Duration) -> Option<Vec<String>> {
    let deadline = now() + patience;
    let mut client = Client::connect(socket)?;
    let mut units = Vec::new();
    while now() < deadline {
        match client.next(deadline.saturating_sub(now())) {
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

/// Names that come to be in the socket's folder.
struct Arrivals {
    inotify: Option<OwnedFd>,
}

impl Arrivals {
    fn beside(socket: &Path) -> Self {
        let watch = |folder: &Path| {
            let inotify =
                inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let new = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
            inotify::add_watch(&inotify, folder, new)?;
            rustix::io::Result::Ok(inotify)
        };
        let inotify = socket.parent().and_then(|folder| watch(folder).ok());
        Self { inotify }
    }

    /// Waits for one, and takes all that are there; never longer than `patience`.
    fn wait(&self, patience: Duration) {
        let Some(inotify) = &self.inotify else {
            return std::thread::sleep(patience.min(AGAIN));
        };
        let limit = Timespec::try_from(patience).ok();
        let mut watched = [PollFd::new(inotify, PollFlags::IN)];
        let _ = poll(&mut watched, limit.as_ref());
        while rustix::io::read(inotify, &mut [0; 4096]).is_ok() {}
    }
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
        Some(Self {
            stream: BufReader::with_capacity(MAX_LINE, stream),
            begun: Vec::new(),
        })
    }

    fn next(&mut self, patience: Duration) -> Next {
        // None at all would mean for ever.
        let patience = patience.max(Duration::from_millis(1));
        if self
            .stream
            .get_ref()
            .set_read_timeout(Some(patience))
            .is_err()
        {
            return Next::End;
        }
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
    fn a_unit_on_its_way_is_at_work_and_one_that_is_restarted_is_not() {
        let unit = |name: &str, active: &str, restarts: u32| {
            let line = WEB
                .replace("web.service", name)
                .replace("\"active\":\"active\"", &format!("\"active\":\"{active}\""));
            line.replace("\"restarts\":0", &format!("\"restarts\":{restarts}"))
                .replace(
                    "\"since_us\":3",
                    &format!("\"since_us\":{}", now().as_micros()),
                )
        };
        let told = format!(
            "{}\n{}\n{WEB}\n{{\"line\":\"synced\"}}\n",
            unit("backup.service", "activating", 0),
            unit("loop.service", "activating", 3)
        );
        let (_folder, socket) = engine(told, true);
        let busy = at_work(&socket, Duration::from_secs(20));
        assert_eq!(busy, ["backup.service"]);
        assert!(at_work(Path::new("/nonexistent"), TELL).is_empty());
    }

    const TELL: Duration = Duration::from_secs(1);

    #[test]
    fn an_engine_that_comes_late_is_heard_at_once_and_judged_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("health.sock");
        let there = socket.clone();
        let judged = std::thread::spawn(move || {
            let begun = now();
            (
                judge(&there, &Places::default(), &[], super::super::SETTLE * 4),
                now() - begun,
            )
        });
        let new = socket.with_extension("new");
        let listener = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, &socket).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let hello = r#"{"line":"hello","format":1,"boot_id":"b"}"#;
        let synced = r#"{"line":"synced"}"#;
        stream
            .write_all(format!("{hello}\n{synced}\n").as_bytes())
            .unwrap();
        let (verdict, took) = judged.join().unwrap();
        assert_eq!(verdict, Verdict::Passed(Vec::new()));
        assert!(took >= super::super::SETTLE, "{took:?}");
    }

    #[test]
    fn an_engine_that_ends_or_is_not_there_tells_nothing() {
        let (folder, socket) = engine(format!("{WEB}\n"), false);
        assert_eq!(healthy(&socket, Duration::from_secs(20)), None);
        assert_eq!(
            healthy(&folder.path().join("none"), Duration::from_secs(20)),
            None
        );
        let verdict = judge(&socket, &Places::default(), &[], Duration::from_millis(600));
        assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
    }
}
