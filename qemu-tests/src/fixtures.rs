//! What the machines are fed: OCI images from Debian packages, a registry, a faulty one.
//!
//! Made once, kept in `target/fixtures`, made anew when their inputs change.

pub mod debian;
pub mod docker;
pub mod faulty;
pub mod files;
pub mod layer;
pub mod layout;
pub mod probe;
pub mod registry;
pub mod releases;
pub mod runtimes;
pub mod tools;
pub mod web;

use crate::image::target;
use crate::protocol::hex;
use anyhow::{Context, Result};
use layout::Layout;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Mutex;

/// Where fixtures are kept.
#[must_use]
pub fn folder() -> PathBuf {
    target().join("fixtures")
}

/// The image's layout: made now, or the one that was made from the same inputs.
pub(crate) fn cached(
    name: &str,
    inputs: &str,
    make: impl FnOnce(&Layout) -> Result<()>,
) -> Result<Layout> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let key = hex(&Sha256::digest(inputs.as_bytes()));
    let layout = Layout::at(&folder().join(format!("{name}-{}", &key[..16])));
    if layout.is_whole() {
        return Ok(layout);
    }
    layout.start_anew()?;
    make(&layout).with_context(|| format!("make the image `{name}`"))?;
    Ok(layout)
}
