//! The bill of materials, CycloneDX 1.6: which packages and binaries an image is made of.
//!
//! Deterministic: no serial number, no time but the source date, no path of the host.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::assemble::Image;
use crate::crates::Crate;
use crate::debian::cache::Package;
use crate::tree::Content;

/// Files of an image that this project builds.
const OURS: [(&str, &str); 5] = [
    ("skeg-init", "/init"),
    ("skeg", "/usr/bin/skeg"),
    ("skeg-daemons", "/usr/lib/skeg/daemons"),
    ("skeg-ssh", "/usr/lib/skeg/packed/ssh.zst"),
    ("skeg-agent", "/usr/lib/skeg/agent"),
];

/// The bill of an image, whose Debian packages come from `release` and whose programs are built from
/// `crates`.
#[must_use]
pub fn bill(image: &Image, release: &str, crates: &[Crate]) -> Value {
    let packages = image
        .packages
        .iter()
        .map(|package| debian(package, release));
    let ours = OURS.iter().filter_map(|(name, path)| {
        let Content::File(bytes) = &image.tree.get(path)?.content else {
            return None;
        };
        Some(binary(name, path, bytes, image))
    });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "operating-system",
                "bom-ref": image.os_release.id,
                "name": image.os_release.name,
                "version": image.os_release.version.to_string(),
            },
            "properties": [
                property("skeg:profile", &image.os_release.variant),
                property("skeg:source-date", &image.os_release.source_date.to_string()),
                property("skeg:kernel-release", &image.kernel_release),
                // Cargo.lock does not say which crates only other systems use.
                property("skeg:crates", "as locked, for any platform"),
            ],
        },
        "components": packages.chain(ours).chain(crates.iter().map(rust)).collect::<Vec<_>>(),
    })
}

fn debian(package: &Package, release: &str) -> Value {
    let taken = &package.taken;
    let purl = format!(
        "pkg:deb/debian/{}@{}?distro={release}",
        encode(&taken.name),
        encode(&taken.version)
    );
    let instead_of = package.instead_of.iter();
    let properties: Vec<_> = instead_of
        .map(|pinned| property("skeg:instead-of-pinned", pinned))
        .collect();
    json!({
        "type": "library",
        "bom-ref": purl,
        "name": taken.name,
        "version": taken.version,
        "purl": purl,
        "licenses": [{ "expression": package.license }],
        "hashes": [sha256(&taken.sha256)],
        "properties": properties,
    })
}

fn rust(of: &Crate) -> Value {
    let purl = format!("pkg:cargo/{}@{}", encode(&of.name), encode(&of.version));
    json!({
        "type": "library",
        "bom-ref": purl,
        "name": of.name,
        "version": of.version,
        "purl": purl,
        "hashes": [sha256(&of.sha256)],
    })
}

fn binary(name: &str, path: &str, bytes: &[u8], image: &Image) -> Value {
    json!({
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": image.os_release.version.to_string(),
        "licenses": [{ "expression": "Apache-2.0" }],
        "hashes": [sha256(&crate::hex(&Sha256::digest(bytes)))],
        "properties": [property("skeg:path", path)],
    })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn sha256(content: &str) -> Value {
    json!({ "alg": "SHA-256", "content": content })
}

/// Percent-encoding of what a package URL does not allow.
fn encode(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~:".contains(c);
    text.chars()
        .map(|c| {
            if plain(c) {
                c.to_string()
            } else {
                format!("%{:02X}", u32::from(c))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_encoded_as_package_urls_want_it() {
        assert_eq!(encode("6.12.117+deb13"), "6.12.117%2Bdeb13");
        assert_eq!(encode("257.13-1~deb13u1"), "257.13-1~deb13u1");
    }
}
