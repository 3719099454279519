//! Files, folders and links of `storage`: where they may be, whose they are, what conflicts.
//!
//! Contents come later: see [`super::contents`].

use super::owner::Names;
use super::paths;
use crate::ignition::version::NEWEST;
use crate::json::Node;
use crate::problem::Findings;
use crate::resource::Resource;
use crate::tree::{Entry, Kind, Tree};
use std::collections::BTreeMap;

/// A file whose content is to be fetched.
#[derive(Debug)]
pub struct Pending {
    pub path: String,
    pub contents: Option<Resource>,
    pub append: Vec<Resource>,
}

/// Puts every node into the tree, files still empty; returns what is to be fetched.
pub fn translate(
    config: &Node,
    names: &Names,
    tree: &mut Tree,
    findings: &mut Findings,
) -> Vec<Pending> {
    let mut pending = Vec::new();
    let Some(storage) = config.get("storage") else {
        return pending;
    };
    let all = conflicts(storage, findings);
    // Folders first: those that are named keep their mode, whoever lies in them.
    for kind in ["directories", "links", "files"] {
        for (index, node) in storage.list(kind).enumerate() {
            let field = format!("storage.{kind}[{index}]");
            let path = node.text("path").unwrap_or_default();
            if let Err(text) = paths::check(path) {
                findings.error(at(node, "path"), &format!("{field}.path"), text);
                continue;
            }
            if let Some(text) = paths::unread(path) {
                findings.note(at(node, "path"), &format!("{field}.path"), text);
            }
            if node.flag("overwrite") == Some(true) && path.starts_with("/var/") {
                let text = "has no effect: what lies below /var is data, and stays";
                findings.note(at(node, "overwrite"), &format!("{field}.overwrite"), text);
            }
            let (uid, gid) = names.owner(node, &field, findings);
            let entry = |kind, mode| Entry {
                kind,
                mode,
                uid,
                gid,
            };
            let entry = match kind {
                "directories" => entry(Kind::Folder, mode(node, 0o755, &field, findings)),
                "links" => entry(link(node, &field, &all, findings), 0o777),
                _ => {
                    let file = file(node, path, &field, findings);
                    let kind = match file.contents {
                        None if path.starts_with("/etc/") => Kind::Appended(Vec::new()),
                        _ => Kind::File(Vec::new()),
                    };
                    pending.push(file);
                    entry(kind, mode(node, 0o644, &field, findings))
                }
            };
            tree.add(path, entry);
        }
    }
    pending
}

/// Paths that stand twice, and files or links that something lies below; returns each path's list.
fn conflicts<'a>(storage: &'a Node, findings: &mut Findings) -> BTreeMap<&'a str, &'static str> {
    let mut all = BTreeMap::new();
    for kind in ["files", "directories", "links"] {
        for (index, node) in storage.list(kind).enumerate() {
            let path = node.text("path").unwrap_or_default();
            if let Some(other) = all.insert(path, kind) {
                let text = format!("{path:?} stands in storage.{other} already");
                let field = format!("storage.{kind}[{index}].path");
                findings.error(at(node, "path"), &field, text);
            }
        }
    }
    for kind in ["files", "directories", "links"] {
        for (index, node) in storage.list(kind).enumerate() {
            let path = node.text("path").unwrap_or_default();
            let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
            let blocked = above.find(|parent| matches!(all.get(parent), Some(&"files" | &"links")));
            if let Some(parent) = blocked {
                let text = format!("lies below {parent:?}, which is no folder");
                let field = format!("storage.{kind}[{index}].path");
                findings.error(at(node, "path"), &field, text);
            }
        }
    }
    all
}

fn file(node: &Node, path: &str, field: &str, findings: &mut Findings) -> Pending {
    let contents = node.get("contents");
    if node.flag("overwrite") == Some(true) && contents.and_then(|c| c.get("source")).is_none() {
        let text = "is true, and there is no contents.source";
        findings.error(at(node, "overwrite"), &format!("{field}.overwrite"), text);
    }
    let mut read = |node: &Node, field: String| Resource::read(node, &field, NEWEST, findings);
    let contents = contents.and_then(|c| read(c, format!("{field}.contents")));
    let append = node.list("append").enumerate();
    let append = append.filter_map(|(i, node)| read(node, format!("{field}.append[{i}]")));
    Pending {
        path: path.to_owned(),
        append: append.collect(),
        contents,
    }
}

fn link(
    node: &Node,
    field: &str,
    all: &BTreeMap<&str, &'static str>,
    findings: &mut Findings,
) -> Kind {
    let target = node.text("target").unwrap_or_default();
    let field = format!("{field}.target");
    let spot = at(node, "target");
    if target.is_empty() || target.len() > 4000 || target.contains('\0') {
        findings.error(spot, &field, "expected a path");
    }
    if node.flag("hard") != Some(true) {
        return Kind::Link(target.to_owned());
    }
    let area = |path: &str| path.get(..5).map(str::to_owned);
    let path = node.text("path").unwrap_or_default();
    if all.get(target) != Some(&"files") {
        let text = "a hard link is to a file of storage.files";
        findings.error(spot, &field, text);
    } else if area(target) != area(path) {
        findings.error(spot, &field, "/etc and /var are two file systems");
    }
    Kind::HardLink(target.to_owned())
}

fn mode(node: &Node, default: u32, field: &str, findings: &mut Findings) -> u32 {
    let Some(number) = node.number("mode") else {
        return default;
    };
    let (spot, field) = (at(node, "mode"), format!("{field}.mode"));
    match u32::try_from(number) {
        Ok(mode) if mode <= 0o7777 => {
            if mode & 0o7000 != 0 {
                let text =
                    "set-id and sticky bits are left out: versions to 3.5.0 do not have them";
                findings.note(spot, &field, text);
            }
            mode & 0o777
        }
        _ => {
            let text = format!("{number} is no mode: expected a decimal number, 420 for 0644");
            findings.error(spot, &field, text);
            default
        }
    }
}

fn at(node: &Node, field: &str) -> crate::problem::Spot {
    node.get(field).map_or(node.at, |node| node.at)
}
