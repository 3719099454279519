//! The command line: what can be asked of the builder.
//!
//! Reads the environment and the file system here; the rest of the crate takes values.

mod build;
mod disk;
mod place;
#[cfg(feature = "publish")]
mod publish;
mod show;
mod vary;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Builds Skeg's images, reproducibly and without privileges.
#[derive(Debug, Parser)]
#[command(name = "image", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a profile: UKI, and its kernel, initramfs and command line one by one
    Build(build::Build),
    /// Make a GPT disk that boots a UKI: ESP with loader and UKI, and STATE
    Disk(disk::Disk),
    /// Fill the cache with all packages of the lock and say where the firmware lies
    Fetch(place::Fetch),
    /// Build image and disk twice, on other paths and under another umask, and compare the bytes
    Reproduce(build::Reproduce),
    /// Make another release of a UKI: another version, other files, more words for the kernel
    Vary(vary::Vary),
    /// Make keys and the root that names them, or the next root
    #[cfg(feature = "publish")]
    Keys(publish::Keys),
    /// Publish a UKI: commit its pieces, patches and the signed manifest
    #[cfg(feature = "publish")]
    Release(publish::Release),
    /// Let a channel go to a release
    #[cfg(feature = "publish")]
    Promote(publish::Promote),
    /// Change how fast hosts take a channel's release
    #[cfg(feature = "publish")]
    Rollout(publish::Rollout),
    /// Stop a channel: no host takes its release any more
    #[cfg(feature = "publish")]
    Freeze(publish::Channel),
    /// Let a frozen channel go on
    #[cfg(feature = "publish")]
    Thaw(publish::Channel),
    /// Sign a channel again before it expires
    #[cfg(feature = "publish")]
    Renew(publish::Channel),
    /// Forget old releases and what only they need
    #[cfg(feature = "publish")]
    Prune(publish::Prune),
    /// Show what a UKI consists of, or a repository
    Inspect(show::Inspect),
    /// Fail when a UKI holds a shell, a C library or the test channel
    Check(show::Check),
}

/// Runs the command line of this process.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn run() -> Result<()> {
    match Arguments::parse().command {
        Command::Build(arguments) => build::build(&arguments),
        Command::Disk(arguments) => disk::make(&arguments),
        Command::Fetch(arguments) => place::fetch(&arguments),
        Command::Reproduce(arguments) => build::reproduce(&arguments),
        Command::Vary(arguments) => vary::vary(&arguments),
        #[cfg(feature = "publish")]
        Command::Keys(arguments) => publish::keys(&arguments),
        #[cfg(feature = "publish")]
        Command::Release(arguments) => publish::release(&arguments),
        #[cfg(feature = "publish")]
        Command::Promote(arguments) => publish::promote(&arguments),
        #[cfg(feature = "publish")]
        Command::Rollout(arguments) => publish::rollout(&arguments),
        #[cfg(feature = "publish")]
        Command::Freeze(arguments) => publish::freeze(&arguments, true),
        #[cfg(feature = "publish")]
        Command::Thaw(arguments) => publish::freeze(&arguments, false),
        #[cfg(feature = "publish")]
        Command::Renew(arguments) => publish::renew(&arguments),
        #[cfg(feature = "publish")]
        Command::Prune(arguments) => publish::prune(&arguments),
        Command::Inspect(arguments) => show::inspect(&arguments),
        Command::Check(arguments) => show::check(&arguments),
    }
}

/// An error and its causes on one line; a cause that the sentence before it already quotes is left
/// out.
#[must_use]
pub fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Writes a result under a temporary name first, so that a cut build leaves no half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("write {}", path.display()))
}
