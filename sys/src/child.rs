//! What a process does to itself before it becomes another program: signals, descriptors, seccomp.
//!
//! It decides nothing; each function is one system call, or one over all signals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Gives every signal its default action and unblocks all: Rust ignores `SIGPIPE`, and what is
/// ignored or blocked survives an exec.
pub fn default_signals() {
    // The kernel's own structure (handler, flags, restorer, mask), since glibc hides two signals.
    let default = [0u64; 4];
    let mask_size = size_of::<u64>();
    for signal in 1..=64 {
        // SAFETY: all-zero is SIG_DFL, which runs no code of ours; nothing is written back. SIGKILL
        // and SIGSTOP are refused, as they should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                mask_size,
            )
        };
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Lets the kernel reap this process's children by itself.
pub fn ignore_children() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`).
///
/// # Errors
/// What the kernel says.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on, but these. It is for a process that is about to become
/// another program: whatever still holds one of the closed numbers must never be used again.
///
/// # Errors
/// What the kernel says.
pub fn close_all_but(first: u32, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept
        .iter()
        .filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok())
        .filter(|number| *number >= first)
        .collect();
    numbers.sort_unstable();
    let mut next = first;
    for number in numbers {
        if number > next {
            close_range(next, number - 1, 0)?;
        }
        next = next.max(number + 1);
    }
    close_range(next, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the numbers are passed by value; that what is closed is used no more is the callers'
    // promise.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes `fd` one of the three standard descriptors, which stay open over an exec.
///
/// # Errors
/// `EINVAL` for a number over 2, else what the kernel says.
pub fn as_standard(fd: BorrowedFd<'_>, standard: u8) -> io::Result<()> {
    if standard > 2 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: numbers only; 0 to 2 are owned by the process as a whole, never by a value.
    if unsafe { libc::dup2(fd.as_raw_fd(), standard.into()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A copy of the descriptor, close-on-exec, numbered 10 or more: out of the way of the standard ones.
///
/// # Errors
/// What the kernel says.
pub fn out_of_the_way(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC only reads numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes the terminal `fd` the controlling terminal of this session's leader.
///
/// # Errors
/// What the kernel says.
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Leaves for new namespaces (`unshare(2)`).
///
/// # Errors
/// `EINVAL` for a flag that is no `CLONE_NEW*`, else what the kernel says.
pub fn unshare_namespace(flags: u64) -> io::Result<()> {
    /// Which libc does not name.
    const CLONE_NEWTIME: libc::c_int = 0x80;
    const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUSER
        | CLONE_NEWTIME
        | libc::CLONE_NEWCGROUP;
    let flags = libc::c_int::try_from(flags).unwrap_or(-1);
    if flags & !NAMESPACES != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a number only; without CLONE_FILES, no descriptor table is split off.
    if unsafe { libc::unshare(flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A new, empty session keyring, so that this process shares no key with its parent.
///
/// # Errors
/// What the kernel says, `ENOSYS` when it is built without keys.
pub fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let key = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    if key < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Installs a seccomp filter (`seccomp(2)`), given as the kernel's `struct sock_filter`s. It needs
/// `no_new_privs` or `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EINVAL` when the bytes are no filter, else what the kernel says.
pub fn load_seccomp_filter(program: &[u8], flags: u32) -> io::Result<()> {
    set_filter(program, flags).map(drop)
}

/// The same, and returns the descriptor on which the filter's notifications arrive
/// (`SECCOMP_FILTER_FLAG_NEW_LISTENER`), close-on-exec.
///
/// # Errors
/// `EBUSY` when another filter has a listener already, else as above.
pub fn load_notifying_seccomp_filter(program: &[u8], flags: u32) -> io::Result<OwnedFd> {
    const NEW_LISTENER: u32 = 1 << 3;
    let fd = set_filter(program, flags | NEW_LISTENER)?;
    // SAFETY: with this flag the call returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_filter(program: &[u8], flags: u32) -> io::Result<i32> {
    let mut filter = instructions(program);
    let length =
        u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` points to `len` instructions, which the kernel copies and verifies.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(done).unwrap_or(-1))
}

/// The kernel's `struct sock_filter`s behind these bytes.
pub(crate) fn instructions(program: &[u8]) -> Vec<libc::sock_filter> {
    let one = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let size = size_of::<libc::sock_filter>();
    program.chunks_exact(size).map(one).collect()
}

/// Ends this process at once: no destructor, no buffer, no handler runs.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_out_of_the_way_is_ten_or_more() {
        let copy = out_of_the_way(std::os::fd::AsFd::as_fd(&std::io::stderr())).unwrap();
        assert!(copy.as_raw_fd() >= 10);
    }

    #[test]
    fn only_standard_descriptors_can_be_replaced() {
        let error = as_standard(std::os::fd::AsFd::as_fd(&std::io::stderr()), 3).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let error = load_seccomp_filter(&[], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
