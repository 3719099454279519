//! What a document points at: where it is, how it is packed, which digest it must have.
//!
//! Fetches nothing; what somebody fetched is unpacked and verified here. URLs are shown without what
//! may be a secret in them.

mod address;
mod digest;

pub use address::{Address, shown};
pub use digest::{Digest, sha256};

use crate::ignition::version::Minor;
use crate::json::Node;
use crate::problem::{Findings, Spot};
use std::io::Read;

/// No resource is larger, unpacked, in bytes.
pub const LARGEST: u64 = 64 << 20;

/// One resource of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Where it is.
    pub address: Address,
    /// Whether it is packed by gzip.
    pub packed: bool,
    /// What it must be, unpacked.
    pub digest: Option<Digest>,
    /// Headers of the request, names and values.
    pub headers: Vec<(String, String)>,
    /// Where it stands.
    pub at: Spot,
    /// The field that it stands in.
    pub field: String,
}

impl Resource {
    /// Reads a resource's object that has passed the check; `None` without a source, or with errors.
    pub fn read(node: &Node, field: &str, minor: Minor, findings: &mut Findings) -> Option<Self> {
        let errors = findings.errors.len();
        let packed = compression(node, field, findings);
        let digest = digest(node, field, minor, findings);
        let headers = headers(node, field, findings);
        let source = node.get("source")?;
        let at = source.at;
        let address = match Address::parse(source.as_text().unwrap_or_default()) {
            Ok(address) => address,
            Err(text) => {
                findings.error(at, &format!("{field}.source"), text);
                return None;
            }
        };
        if !headers.is_empty() && !matches!(address, Address::Http(_)) {
            let text = "is for sources of http and https only";
            findings.error(at, &format!("{field}.httpHeaders"), text);
        }
        (findings.errors.len() == errors).then(|| Self {
            address,
            packed,
            digest,
            headers,
            at,
            field: field.to_owned(),
        })
    }

    /// Unpacks and verifies what was fetched.
    ///
    /// # Errors
    /// It is not what it should be, or too large.
    pub fn finish(&self, fetched: Vec<u8>) -> Result<Vec<u8>, String> {
        let bytes = match self.packed {
            true => unpack(&fetched)?,
            false => fetched,
        };
        if bytes.len() as u64 > LARGEST {
            return Err(format!("is larger than {} MiB", LARGEST >> 20));
        }
        match &self.digest {
            Some(digest) => digest.verify(&bytes).map(|()| bytes),
            None => Ok(bytes),
        }
    }
}

/// Every resource of a document, read with its version: for the check.
pub fn check(document: &Node, minor: Minor, findings: &mut Findings) {
    for (node, field) in all(document) {
        let _ = Resource::read(node, &field, minor, findings);
    }
}

fn all(document: &Node) -> Vec<(&Node, String)> {
    let mut found = Vec::new();
    let ignition = document.get("ignition");
    let config = ignition.and_then(|node| node.get("config"));
    if let Some(config) = config {
        for (index, node) in config.list("merge").enumerate() {
            found.push((node, format!("ignition.config.merge[{index}]")));
        }
        let replace = config.get("replace");
        found.extend(replace.map(|node| (node, "ignition.config.replace".to_owned())));
    }
    let tls = ignition.and_then(|node| node.get("security")?.get("tls"));
    for (index, node) in authorities(tls).enumerate() {
        let field = format!("ignition.security.tls.certificateAuthorities[{index}]");
        found.push((node, field));
    }
    let files = document.get("storage").into_iter();
    for (index, file) in files.flat_map(|s| s.list("files")).enumerate() {
        let field = format!("storage.files[{index}]");
        let contents = file.get("contents");
        found.extend(contents.map(|node| (node, format!("{field}.contents"))));
        for (fragment, node) in file.list("append").enumerate() {
            found.push((node, format!("{field}.append[{fragment}]")));
        }
    }
    found
}

fn authorities(tls: Option<&Node>) -> impl Iterator<Item = &Node> {
    tls.into_iter()
        .flat_map(|tls| tls.list("certificateAuthorities"))
}

fn compression(node: &Node, field: &str, findings: &mut Findings) -> bool {
    match node.text("compression") {
        None | Some("") => false,
        Some("gzip") => true,
        Some(other) => {
            let text = format!("expected \"gzip\" or null, found {other:?}");
            findings.error(node.at, &format!("{field}.compression"), text);
            false
        }
    }
}

fn digest(node: &Node, field: &str, minor: Minor, findings: &mut Findings) -> Option<Digest> {
    let hash = node.get("verification")?.get("hash")?;
    let text = hash.as_text().unwrap_or_default();
    let read = match Digest::parse(text) {
        Ok(digest) if digest.is_sha256() && minor < Minor(1) => {
            Err("sha256 came with version 3.1.0: expected sha512-…".to_owned())
        }
        other => other,
    };
    read.map_err(|text| findings.error(hash.at, &format!("{field}.verification.hash"), text))
        .ok()
}

fn headers(node: &Node, field: &str, findings: &mut Findings) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (index, header) in node.list("httpHeaders").enumerate() {
        let name = header.text("name").unwrap_or_default();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let field = format!("{field}.httpHeaders[{index}]");
        if name.is_empty() || !name.bytes().all(token) {
            findings.error(
                header.at,
                &format!("{field}.name"),
                "is no name of a header",
            );
        }
        let Some(value) = header.text("value") else {
            continue;
        };
        if value.chars().any(|c| c.is_control() && c != '\t') {
            // Its value may be a secret.
            findings.error(
                header.at,
                &format!("{field}.value"),
                "has a control character",
            );
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let reader = flate2::read::MultiGzDecoder::new(packed);
    match reader.take(LARGEST + 1).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(format!("expected gzip: {e}")),
    }
}
