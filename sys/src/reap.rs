//! Children of PID 1: reaping any of them, asking whether a pidfd names one, and short-lived copies
//! of this program for work that may hang.
//!
//! Nothing here allocates, and nothing blocks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// `_exit(2)` with this status.
    Exited(u8),
    /// Killed by this signal; real-time signals too.
    Signaled(u8),
}

/// What [`reap`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// This child is gone now.
    Child(u32, Ended),
    /// Every child still runs.
    None,
    /// There is no child at all.
    Childless,
}

/// Reaps one child, whatever its exit signal, without waiting.
///
/// # Errors
/// None that a caller with valid flags can see; passed on all the same.
pub fn reap() -> io::Result<Reaped> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    match wait(libc::P_ALL, 0, flags) {
        Ok(None) => Ok(Reaped::None),
        Ok(Some((pid, ended))) => Ok(Reaped::Child(pid, ended)),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(Reaped::Childless),
        Err(e) => Err(e),
    }
}

/// Whether the pidfd names a child of the caller that was not reaped yet.
///
/// # Errors
/// As waitid(2), e.g. when the descriptor is no pidfd.
pub fn is_child(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let id = pidfd.as_raw_fd().unsigned_abs();
    match wait(libc::P_PIDFD, id, flags) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        Err(e) => Err(e),
    }
}

fn wait(kind: libc::idtype_t, id: u32, flags: i32) -> io::Result<Option<(u32, Ended)>> {
    // SAFETY: siginfo_t is plain data; waitid fills it, and with WNOHANG leaves si_pid 0 when
    // there is nothing. The accessors are valid for what waitid fills in.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(kind, id, &raw mut info, flags) < 0 {
            return Err(io::Error::last_os_error());
        }
        let (pid, status) = (info.si_pid(), info.si_status());
        let number = (status & 0xff) as u8;
        let ended = match info.si_code {
            libc::CLD_EXITED => Ended::Exited(number),
            _ => Ended::Signaled(number),
        };
        Ok((pid > 0).then_some((pid.unsigned_abs(), ended)))
    }
}

/// Runs `work` in a copy of this process and returns the copy's pid: it exits with what `work`
/// returns. For work that may hang for ever, such as a sync of a dead disk.
///
/// The calling process must have a single thread, as PID 1 has: the copy may then allocate.
///
/// # Errors
/// As fork(2).
pub fn run_in_copy(work: impl FnOnce() -> u8) -> io::Result<u32> {
    // SAFETY: the caller promises to have one thread, so no lock is held by another one.
    match unsafe { libc::fork() } {
        0 => {
            let code = work();
            // SAFETY: _exit takes a number and never returns; nothing of the parent is run.
            unsafe { libc::_exit(code.into()) }
        }
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::process::Command;

    fn pidfd(pid: u32) -> OwnedFd {
        // SAFETY: pidfd_open takes numbers and returns a new descriptor, owned from here on.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            assert!(fd >= 0);
            OwnedFd::from_raw_fd(i32::try_from(fd).unwrap())
        }
    }

    #[test]
    fn a_child_is_told_from_a_stranger_and_from_one_that_was_reaped() {
        assert!(!is_child(pidfd(std::process::id()).as_fd()).unwrap());
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let fd = pidfd(child.id());
        assert!(is_child(fd.as_fd()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_child(fd.as_fd()).unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(is_child(file.as_fd()).is_err());
    }
}
