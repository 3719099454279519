//! kill: a signal to the main process of a container, or to all.
//!
//! The process is named by a descriptor: a process id that is used again is never hit.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::args::{Global, Kill};
use super::error::Error;
use super::state::{self, Home, Status};

pub(super) fn kill(global: &Global, options: &Kill) -> Result<(), Error> {
    let signal = number(&options.signal)?;
    if !options.regex {
        return one(global, &options.id, signal, options.all);
    }
    let ids = state::all(global);
    let matching = ids.iter().filter(|id| matches(&options.id, id));
    matching
        .into_iter()
        .try_for_each(|id| one(global, id, signal, options.all))
}

fn one(global: &Global, id: &str, signal: i32, all: bool) -> Result<(), Error> {
    let home = Home::open(global, id)?;
    let record = home.record()?;
    let cgroup = record.cgroup();
    if let (true, Some(cgroup)) = (all, &cgroup) {
        let failed = |error| Error::file("kill all in", cgroup.path(), error);
        if signal == 9 {
            return cgroup.kill().map_err(failed);
        }
        for pid in cgroup.processes().map_err(failed)? {
            signal_pid(pid, signal);
        }
        return Ok(());
    }
    let stopped = || Error::NotRunning {
        id: id.into(),
        status: Status::Stopped.name().into(),
    };
    let pidfd = record.pidfd().ok_or_else(stopped)?;
    match sys::process::pidfd_signal(pidfd.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(3) => Err(stopped()),
        done => done.map_err(|error| Error::io("kill", error)),
    }?;
    // A frozen process dies of it only once it is thawed; without a pid namespace, what it has
    // started lives on.
    if let (9, Some(cgroup)) = (signal, cgroup) {
        let _ = cgroup.freeze_now(false);
    }
    Ok(())
}

fn signal_pid(pid: u32, signal: i32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let flags = rustix::process::PidfdFlags::empty();
    // One that has ended meanwhile needs no signal.
    if let Some(Ok(pidfd)) = pid.map(|pid| rustix::process::pidfd_open(pid, flags)) {
        let _ = sys::process::pidfd_signal(pidfd.as_fd(), signal);
    }
}

/// SIGKILL, and waits until it is dead.
pub(super) fn kill_and_wait(pidfd: &OwnedFd) -> Result<(), Error> {
    let _ = sys::process::pidfd_signal(pidfd.as_fd(), 9);
    let patience = Timespec::try_from(Duration::from_secs(10)).ok();
    let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
    match poll(&mut ended, patience.as_ref()) {
        Ok(0) => Err(Error::Other(
            "it does not die of SIGKILL within 10 s".into(),
        )),
        done => done.map(drop).map_err(|error| Error::io("poll", error)),
    }
}

/// A signal's number, from its number or its name with or without `SIG`.
fn number(text: &str) -> Result<i32, Error> {
    if let Ok(number) = text.parse::<i32>()
        && (0..=64).contains(&number)
    {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let unknown = || Error::Other(format!("unknown signal `{text}`"));
    for (prefix, base, sign) in [("RTMIN", 34, 1), ("RTMAX", 64, -1)] {
        let Some(rest) = bare.strip_prefix(prefix) else {
            continue;
        };
        let offset = rest.trim_start_matches(['+', '-']);
        let offset = if offset.is_empty() { "0" } else { offset };
        let offset: i32 = offset.parse().map_err(|_| unknown())?;
        let number = base + sign * offset;
        return (34..=64)
            .contains(&number)
            .then_some(number)
            .ok_or_else(unknown);
    }
    let signal = format!("SIG{bare}").parse::<Signal>();
    signal.map(|signal| signal as i32).map_err(|_| unknown())
}

/// Whether an id matches a pattern of letters, `.`, `*`, `^` and `$`: what callers write of regular
/// expressions.
pub(super) fn matches(pattern: &str, id: &str) -> bool {
    let anchored = pattern.strip_prefix('^');
    let body: Vec<char> = anchored.unwrap_or(pattern).chars().collect();
    let text: Vec<char> = id.chars().collect();
    let starts = if anchored.is_some() { 0 } else { text.len() };
    (0..=starts).any(|at| here(&body, &text[at..]))
}

fn here(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => true,
        ['$'] => text.is_empty(),
        [one, '*', rest @ ..] => {
            let many = text.iter().take_while(|c| *one == '.' || *one == **c);
            (0..=many.count()).any(|count| here(rest, &text[count..]))
        }
        [one, rest @ ..] => text
            .split_first()
            .is_some_and(|(first, left)| (*one == '.' || one == first) && here(rest, left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_number_and_by_name() {
        for (text, expected) in [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37)] {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "SIGNOPE", "65", "-1", "RTMIN+99"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_match_simple_expressions() {
        assert!(matches("test-*", "test-1") && matches("^web.*$", "web-7"));
        assert!(!matches("^eb", "web") && !matches("web$", "web-7"));
    }
}
