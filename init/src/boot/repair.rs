//! Debian's e2fsck on a STATE that is ill: in its own cgroup, with bounds, and without privileges.
//!
//! It never formats, and never runs on what is not one of our file systems: see `superblock`.

use crate::clock::now;
use crate::service::cgroup::Cgroups;
use formats::paths::{CGROUP_SERVICES, E2FSCK, SERVICE_LOGS};
use formats::service::Service;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use sys::launch::{Launch, Launched};
use sys::reap::{Ended, Reaped};

/// How long one pass may take; a terabyte takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long a killed one may take to be gone.
const KILLED: Duration = Duration::from_secs(5);
/// The watchdog is fed at least that often meanwhile.
pub const BREATH: Duration = Duration::from_secs(5);
/// More than that of its words is thrown away.
const MOST_WORDS: usize = 32 << 10;

/// What a repair needs of the boot.
pub struct Aids<'a> {
    /// Where its limits are set, if anywhere.
    pub cgroups: Option<&'a Cgroups>,
    /// Is called while it waits.
    pub alive: &'a mut dyn FnMut(),
    /// A line on the console.
    pub say: &'a dyn Fn(&str),
}

/// How much e2fsck may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// `-fp`: what is safe to do without asking.
    Safe,
    /// `-fy`: all that it proposes.
    All,
}

impl Pass {
    fn options(self) -> &'static str {
        match self {
            Self::Safe => "-fp",
            Self::All => "-fy",
        }
    }
}

/// What follows from e2fsck's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Repaired,
    TryAll,
    Hopeless,
}

/// Exit codes of e2fsck(8): 1 and 2 are repairs, 4 is what `-p` leaves to be asked for, 8 that it
/// could not start, e.g. for want of a whole superblock, which `-p` does not replace by a copy.
fn verdict(pass: Pass, ended: Ended) -> Verdict {
    match (pass, ended) {
        (_, Ended::Exited(0..=3)) => Verdict::Repaired,
        (Pass::Safe, Ended::Exited(4..=15)) => Verdict::TryAll,
        _ => Verdict::Hopeless,
    }
}

/// Repairs; returns what was done, in a sentence.
///
/// # Errors
/// A sentence: why the file system cannot be used.
pub fn repair(device: &Path, first: Pass, aids: &mut Aids<'_>) -> Result<String, String> {
    let mut pass = first;
    loop {
        let command = format!("e2fsck {} {}", pass.options(), device.display());
        (aids.say)(&format!(
            "STATE: {command}, for at most {} min",
            PATIENCE.as_secs() / 60
        ));
        let (ended, words) = run(device, pass, aids).map_err(|e| format!("{command}: {e}"))?;
        for line in gist(&words, 20) {
            (aids.say)(&format!("e2fsck: {line}"));
        }
        let gist = gist(&words, 4).join("; ");
        match verdict(pass, ended) {
            Verdict::Repaired => return Ok(format!("{command}: {gist}")),
            Verdict::TryAll => pass = Pass::All,
            Verdict::Hopeless => return Err(format!("{command}: {}: {gist}", how(ended))),
        }
    }
}

fn how(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signaled(signal) => format!("signal {signal}"),
    }
}

/// The lines that say what was wrong, without those that come every time.
fn gist(words: &str, most: usize) -> Vec<&str> {
    let lines = words.lines().map(str::trim);
    let telling = lines.filter(|line| {
        let usual = ["e2fsck 1.", "Pass ", "Fix? yes"];
        !line.is_empty() && !usual.iter().any(|start| line.starts_with(start))
    });
    telling
        .map(|line| line.get(..160).unwrap_or(line))
        .take(most)
        .collect()
}

fn run(device: &Path, pass: Pass, aids: &mut Aids<'_>) -> Result<(Ended, String), String> {
    let mut bounds = Service::new("e2fsck");
    bounds.memory_max = Some(half_of_the_memory());
    bounds.tasks_max = Some(1);
    let group = aids.cgroups.map(|all| all.enter(&bounds));
    let group = group.transpose().map_err(|e| format!("cgroup: {e}"))?;
    let folder = group.as_ref().map(|(folder, _)| folder);
    let (words, writer) = io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let started = start(device, pass, folder, &writer)?;
    drop(writer);
    let result = follow(&started, words, aids);
    let folder = Path::new("/sys/fs/cgroup")
        .join(CGROUP_SERVICES)
        .join(&bounds.name);
    let _ = fs::remove_dir(folder);
    result
}

fn half_of_the_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit)) / 2
}

fn start(
    device: &Path,
    pass: Pass,
    cgroup: Option<&OwnedFd>,
    output: &impl AsFd,
) -> Result<Launched, String> {
    let null = File::open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?;
    let device = device.to_string_lossy();
    let words = [E2FSCK, pass.options(), &*device].map(CString::new);
    let launch = Launch {
        argv: words.into_iter().filter_map(Result::ok).collect(),
        envp: Vec::new(),
        stdio: [null.as_fd(), output.as_fd(), output.as_fd()],
        fds: Vec::new(),
        cgroup: cgroup.map(AsFd::as_fd),
        // The device's owner, with no capability left.
        uid: 0,
        gid: 0,
        view: Vec::new(),
        bounding: Some(0),
        ambient: 0,
        no_new_privileges: true,
        filters: Vec::new(),
        oom_score_adjust: 0,
        open_files: (64, 64),
    };
    sys::launch::launch(&launch).map_err(|e| e.to_string())
}

/// Reads its words and waits for its end, which comes at the deadline at the latest.
fn follow(
    started: &Launched,
    words: PipeReader,
    aids: &mut Aids<'_>,
) -> Result<(Ended, String), String> {
    let mut words = Some(words);
    let mut text = Vec::new();
    let mut deadline = now() + PATIENCE;
    let mut late = false;
    loop {
        (aids.alive)();
        match sys::reap::reap() {
            Ok(Reaped::Child(pid, ended)) if pid == started.pid => {
                read_rest(words, &mut text);
                let text = String::from_utf8_lossy(&text).into_owned();
                let _ = fs::write(Path::new(SERVICE_LOGS).join("e2fsck.log"), &text);
                return match late {
                    true => Err(format!("killed after {} s", PATIENCE.as_secs())),
                    false => Ok((ended, text)),
                };
            }
            Ok(Reaped::Child(..)) => continue,
            _ => {}
        }
        if now() >= deadline {
            if late {
                return Err("cannot be killed: the disk does not answer".to_owned());
            }
            (late, deadline) = (true, now() + KILLED);
            let signal = rustix::process::Signal::KILL;
            let _ = rustix::process::pidfd_send_signal(&started.pidfd, signal);
        }
        if wait(started, words.as_ref(), deadline) && !read_some(words.as_mut(), &mut text) {
            words = None;
        }
    }
}

/// Waits for its end, for words (true), or for the next breath.
fn wait(started: &Launched, words: Option<&PipeReader>, deadline: Duration) -> bool {
    let left = deadline.saturating_sub(now()).min(BREATH);
    let timeout = Timespec::try_from(left).ok();
    let mut fds = vec![PollFd::new(&started.pidfd, PollFlags::IN)];
    fds.extend(words.map(|words| PollFd::new(words, PollFlags::IN)));
    let _ = poll(&mut fds, timeout.as_ref());
    fds.get(1).is_some_and(|words| !words.revents().is_empty())
}

/// False at the end of the words.
fn read_some(words: Option<&mut PipeReader>, text: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match words.map(|words| words.read(&mut buffer)) {
        Some(Ok(length @ 1..)) => {
            let room = MOST_WORDS.saturating_sub(text.len());
            text.extend(&buffer[..length.min(room)]);
            true
        }
        _ => false,
    }
}

fn read_rest(words: Option<PipeReader>, text: &mut Vec<u8>) {
    let room = MOST_WORDS.saturating_sub(text.len());
    if let Some(words) = words {
        let _ = words.take(room as u64).read_to_end(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_once_and_only_after_what_is_safe_was_not_enough() {
        use Ended::{Exited, Signaled};
        let safe = |ended| verdict(Pass::Safe, ended);
        assert_eq!(safe(Exited(0)), Verdict::Repaired);
        assert_eq!(safe(Exited(1)), Verdict::Repaired);
        assert_eq!(safe(Exited(4)), Verdict::TryAll);
        assert_eq!(safe(Exited(8)), Verdict::TryAll);
        for hopeless in [Exited(32), Exited(128), Signaled(9)] {
            assert_eq!(safe(hopeless), Verdict::Hopeless);
        }
        assert_eq!(verdict(Pass::All, Exited(1)), Verdict::Repaired);
        for code in 4..16 {
            assert_eq!(verdict(Pass::All, Exited(code)), Verdict::Hopeless);
        }
    }

    #[test]
    fn what_is_told_is_what_was_wrong() {
        let words = "e2fsck 1.47.2 (1-Jan-2025)\nPass 1: Checking inodes\n\nFree blocks count wrong\nFix? yes\n";
        assert_eq!(gist(words, 4), ["Free blocks count wrong"]);
    }
}
