//! The contents of files, fetched once everything else is known to be good.
//!
//! Bounds what they come to together.

use super::nodes::Pending;
use crate::ignition::gather::{Fetch, fetched};
use crate::problem::Findings;
use crate::resource::{LARGEST, Resource};
use crate::tree::{Kind, Tree};

/// Fetches what is pending and fills it in.
pub fn fill(
    pending: Vec<Pending>,
    tree: &mut Tree,
    fetch: &mut dyn Fetch,
    findings: &mut Findings,
) {
    let mut total = 0;
    for file in pending {
        let mut bytes = Vec::new();
        let parts: Vec<&Resource> = file.contents.iter().chain(&file.append).collect();
        for resource in parts {
            let source = format!("{}.source", resource.field);
            match fetched(fetch, resource) {
                Ok(more) => {
                    total += more.len() as u64;
                    bytes.extend(more);
                }
                Err(text) => findings.error(resource.at, &source, text),
            }
            if total > LARGEST {
                let text = format!("all files together are larger than {} MiB", LARGEST >> 20);
                findings.error(resource.at, &source, text);
                return;
            }
        }
        if let Some(entry) = tree.entries.get_mut(&file.path) {
            entry.kind = match entry.kind {
                Kind::Appended(_) => Kind::Appended(bytes),
                _ => Kind::File(bytes),
            };
        }
    }
}
