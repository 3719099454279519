//! `clone3(2)` as a fork: the child goes on with a copy of the address space.
//!
//! Refused in a process with several threads, where the child could inherit a lock that nobody frees.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Too wide for `libc`'s type of it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The two returns of a clone.
#[derive(Debug)]
pub enum Cloned {
    /// In the caller.
    Parent {
        /// The child, as seen from the caller's pid namespace.
        pid: u32,
        /// The child's pidfd, close-on-exec.
        pidfd: OwnedFd,
    },
    /// In the child.
    Child,
}

/// Clones the calling process with `flags` (of `CLONE_NEW*` and `CLONE_PARENT`), into `cgroup` (an
/// open directory on cgroup2) when given. The caller, not `exit_signal`, chooses who reaps: with
/// `CLONE_PARENT` the caller's parent, else the caller by `SIGCHLD`.
///
/// # Errors
/// `EINVAL` for any other flag, `EDEADLK` in a process with several threads, and what clone3 says.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    const ALLOWED: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUSER
        | libc::CLONE_PARENT;
    if flags & !(ALLOWED as u64) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if !single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is the documented "nothing asked" value of every field.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    if flags & libc::CLONE_PARENT as u64 == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with no stack given this is a fork; the process has one thread,
    // so no lock is held by anyone else in the child. `args` and `pidfd` outlive the call.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    };
    // SAFETY: `pid` is what the call returned, and `pidfd` what it wrote to.
    unsafe { cloned(pid, pidfd) }
}

/// What a clone's return value says, on either side of it.
///
/// # Safety
/// `pid` is a clone's return value, and `pidfd` what that call wrote to for `CLONE_PIDFD`.
unsafe fn cloned(pid: libc::c_long, pidfd: libc::c_int) -> io::Result<Cloned> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has put a new descriptor into `pidfd`, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: pid as u32,
                pidfd,
            })
        }
    }
}

/// Clones the calling process as its parent's child: by clone(2), which seccomp filters look into and let
/// pass, as they do not for clone3(2).
///
/// # Errors
/// `EDEADLK` in a process with several threads, and what the kernel says.
pub fn sibling() -> io::Result<Cloned> {
    if !single_threaded() {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: as in `clone3`; with a null stack the child goes on on its copy of this one, and only
    // the pidfd is written, through the third argument.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_ulong::from(flags.cast_unsigned()),
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            std::ptr::null_mut::<libc::c_int>(),
            0,
        )
    };
    // SAFETY: `pid` is what the call returned, and `pidfd` what it wrote to.
    unsafe { cloned(pid, pidfd) }
}

/// Whether no other thread shares this memory: unsharing one's thread group is nothing to do for a
/// single thread and `EINVAL` for one of several (unshare(2)); `/proc` may not be there to ask. A seccomp
/// filter may refuse to answer: it is loaded by those only that come from a clone of here.
fn single_threaded() -> bool {
    // SAFETY: a number only; the flag has no effect beyond the check.
    let alone = unsafe { libc::unshare(libc::CLONE_THREAD) == 0 };
    alone || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_is_refused() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || gone.recv());
        let error = clone3(0, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
        drop(go);
        let _ = thread.join();
    }

    #[test]
    fn a_flag_that_shares_memory_is_refused() {
        let error = clone3(libc::CLONE_VM as u64, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
