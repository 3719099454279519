//! Builds Skeg's artefacts from a recipe: initramfs, UKI and disk.
//!
//! Never needs a privilege, never mounts, and never lets the host's paths, users or clock into an
//! output: the same recipe, binaries and source date give the same bytes.

pub mod accounts;
pub mod assemble;
pub mod cli;
pub mod crates;
pub mod debian;
pub mod disk;
pub mod host;
pub mod modules;
pub mod osrelease;
pub mod progress;
#[cfg(feature = "publish")]
pub mod publish;
pub mod recipe;
pub mod reproduce;
pub mod sbom;
pub mod seccomp;
pub mod tree;
pub mod uki;

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
