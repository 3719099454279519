//! Where a release repository has what: an ostree repository in archive mode, and the signed
//! documents beside it, all plain files below one URL or folder.
//!
//! ```text
//! config  objects/ab/cdef….commit|.dirtree|.dirmeta|.filez  summary     ostree's
//! skeg/PRODUCT/root/1.jsonl, 2.jsonl, …                                 see [`crate::root`]
//! skeg/PRODUCT/channels/CHANNEL.jsonl                                   see [`crate::channel`]
//! skeg/PRODUCT/releases/VERSION.jsonl                                   see [`crate::manifest`]
//! ```

use crate::digest::Sha256;
use crate::name::Name;
use crate::version::Version;

/// The path of a root.
#[must_use]
pub fn root(product: &Name, version: u64) -> String {
    format!("skeg/{product}/root/{version}.jsonl")
}

/// The path of a channel.
#[must_use]
pub fn channel(product: &Name, channel: &Name) -> String {
    format!("skeg/{product}/channels/{channel}.jsonl")
}

/// The path of a release's manifest.
#[must_use]
pub fn release(product: &Name, version: Version) -> String {
    format!("skeg/{product}/releases/{version}.jsonl")
}

/// The path of an ostree object; `extension` is `commit`, `dirtree`, `dirmeta` or `filez`.
#[must_use]
pub fn object(checksum: &Sha256, extension: &str) -> String {
    let text = checksum.to_string();
    let (folder, name) = text.split_at(2);
    format!("objects/{folder}/{name}.{extension}")
}

/// The ostree ref of a release.
#[must_use]
pub fn reference(product: &Name, version: Version) -> String {
    format!("skeg/{product}/{version}")
}
