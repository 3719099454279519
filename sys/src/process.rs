//! A process about itself: signal dispositions that nix calls unsafe for want of a handler's proof.
//!
//! No handler is ever installed here, only the kernel's defaults.

use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets a write to a closed pipe end the program, as command lines expect; Rust ignores the signal.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL installs no handler, so no code of ours runs in signal context.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}
