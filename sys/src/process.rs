//! A process about itself: signal dispositions that nix calls unsafe for want of a handler's proof.
//!
//! No handler is ever installed here, only the kernel's defaults.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets a write to a closed pipe end the program, as command lines expect; Rust ignores the signal.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL installs no handler, so no code of ours runs in signal context.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// Sends any signal, real-time ones too, to the process that `pidfd` names (pidfd_send_signal(2)).
///
/// # Errors
/// As the system call.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (no_info, no_flags) = (std::ptr::null::<libc::siginfo_t>(), 0);
    // SAFETY: the descriptor is borrowed and open for the call; a null info is allowed and makes
    // the kernel fill it in.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            no_info,
            no_flags,
        )
    };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the command's child the leader of a session whose terminal is its standard input.
pub fn lead_terminal(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let lead = || {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(lead) };
}
