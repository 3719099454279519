//! A merged configuration becomes the host's tree: paths, owners, accounts, units.
//!
//! Everything is checked before the first content is fetched, and nothing here touches the host.

mod accounts;
mod contents;
mod nodes;
mod owner;
mod paths;
mod units;
mod wrapped;

use crate::ignition::gather::{Fetch, Gathered, gather};
use crate::json::Node;
use crate::problem::{Findings, Spot};
use crate::tree::{Kind, Tree};

/// What a configuration is laid over.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Users of the image's daemons, as passwd(5).
    pub image_passwd: String,
    /// Their groups, as group(5).
    pub image_group: String,
    /// The users that an earlier configuration made: each keeps its number.
    pub earlier_passwd: String,
    /// The groups that an earlier one made.
    pub earlier_group: String,
}

/// A configuration, resolved.
#[derive(Debug)]
pub struct Resolved {
    /// What it comes to; none when there were errors.
    pub tree: Option<Tree>,
    /// The documents that it is made of.
    pub documents: Vec<String>,
    /// What was found.
    pub findings: Findings,
}

impl Resolved {
    /// Every error, with its place, a line each.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let mut errors = self.findings.errors.clone();
        errors.sort();
        errors.dedup();
        let told = errors.iter().map(|e| e.told(&self.documents).to_string());
        told.collect()
    }

    /// Every note, likewise.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.findings.notes.clone();
        notes.sort();
        notes.dedup();
        let told = notes.iter().map(|n| n.told(&self.documents).to_string());
        told.collect()
    }
}

/// From a document's bytes to the tree; `name` is what the document is called in errors.
pub fn resolve(name: &str, text: &[u8], host: &Host, fetch: &mut dyn Fetch) -> Resolved {
    let Gathered {
        config,
        documents,
        mut findings,
    } = gather(name, text, fetch);
    let tree = config.and_then(|config| translate(&config, host, fetch, &mut findings));
    Resolved {
        tree,
        documents,
        findings,
    }
}

fn translate(
    config: &Node,
    host: &Host,
    fetch: &mut dyn Fetch,
    findings: &mut Findings,
) -> Option<Tree> {
    let mut tree = Tree::default();
    let names = accounts::translate(config, host, &mut tree, findings);
    let pending = nodes::translate(config, &names, &mut tree, findings);
    units::translate(config, &mut tree, findings);
    if findings.errors.is_empty() {
        structure(&tree, findings);
    }
    // What is fetched from here on is fetched as all documents together say.
    if let (true, Some(ignition)) = (findings.errors.is_empty(), config.get("ignition"))
        && let Err(problem) = fetch.settings(ignition)
    {
        findings.errors.push(problem);
    }
    if findings.errors.is_empty() {
        contents::fill(pending, &mut tree, fetch, findings);
        units::mask(config, &mut tree, findings);
    }
    findings.errors.is_empty().then_some(tree)
}

/// Whether everything lies in folders, whoever made them: files of accounts and units come to the others.
fn structure(tree: &Tree, findings: &mut Findings) {
    for path in tree.entries.keys() {
        let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
        let blocks = |parent: &&str| match tree.entries.get(*parent) {
            Some(entry) => entry.kind != Kind::Folder,
            None => false,
        };
        if let Some(parent) = above.find(blocks) {
            let text = format!("{path:?} lies below {parent:?}, which is no folder");
            findings.error(Spot::default(), "", text);
        }
    }
}
