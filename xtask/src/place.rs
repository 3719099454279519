//! Where things lie: the workspace, the target folder, what is built into it.
//!
//! It only names paths; whether something is there is the caller's question.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The target triple of what runs in the guest.
pub const GUEST: &str = "x86_64-unknown-linux-gnu";

/// The workspace's top folder.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// `CARGO_TARGET_DIR`, or `target` of the workspace.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) if !folder.is_empty() => workspace().join(folder),
        _ => workspace().join("target"),
    }
}

/// Where cargo keeps the sources of dependencies.
pub fn cargo_home() -> PathBuf {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").unwrap_or_default();
    named.unwrap_or_else(|| Path::new(&home).join(".cargo"))
}

/// A program built for this machine.
pub fn host_program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A program built for the guest, in a profile.
pub fn guest_program(profile: &str, name: &str) -> PathBuf {
    target().join(GUEST).join(profile).join(name)
}

/// Cargo's profile of PID 1: `tiny`, unless `SKEG_PROFILE` names another.
pub fn tiny() -> &'static str {
    chosen().unwrap_or("tiny")
}

/// Cargo's profile of the guest's other programs: `release`, unless `SKEG_PROFILE` names another.
pub fn release() -> &'static str {
    chosen().unwrap_or("release")
}

/// `SKEG_PROFILE=quick` links in seconds what a release links in minutes; its sizes are over budget.
fn chosen() -> Option<&'static str> {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        std::env::var("SKEG_PROFILE")
            .ok()
            .filter(|name| !name.is_empty())
    };
    CHOSEN.get_or_init(read).as_deref()
}

/// The folder of a built image.
pub fn image(profile: &str) -> PathBuf {
    target().join("image").join(profile)
}

/// Where the output of quiet steps is kept.
pub fn logs() -> PathBuf {
    target().join("xtask-logs")
}
