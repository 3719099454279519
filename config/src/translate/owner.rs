//! Names and numbers of owners, as a configuration may use them.
//!
//! Never asks the host: what is known is root, the image's accounts, and the configuration's own.

use crate::json::Node;
use crate::problem::Findings;
use std::collections::BTreeMap;

/// Users and groups by name.
#[derive(Debug, Default)]
pub struct Names {
    /// User ids.
    pub users: BTreeMap<String, u32>,
    /// Group ids.
    pub groups: BTreeMap<String, u32>,
}

impl Names {
    /// `user` and `group` of a node; root where nothing is said.
    pub fn owner(&self, node: &Node, field: &str, findings: &mut Findings) -> (u32, u32) {
        let uid = one(node, "user", &self.users, field, findings);
        let gid = one(node, "group", &self.groups, field, findings);
        (uid, gid)
    }
}

fn one(
    node: &Node,
    what: &str,
    known: &BTreeMap<String, u32>,
    field: &str,
    findings: &mut Findings,
) -> u32 {
    let Some(owner) = node.get(what) else {
        return 0;
    };
    let field = format!("{field}.{what}");
    match (
        owner.number("id"),
        owner.text("name").filter(|n| !n.is_empty()),
    ) {
        (Some(_), Some(_)) => {
            findings.error(owner.at, &field, "has both id and name: expected one");
        }
        (None, None) => {}
        (Some(id), None) => match u32::try_from(id) {
            // The last number means "unchanged" to the kernel.
            Ok(id) if id != u32::MAX => return id,
            _ => findings.error(owner.at, &field, format!("{id} is no id")),
        },
        (None, Some(name)) => match known.get(name) {
            Some(id) => return *id,
            None => {
                let text =
                    format!("no {what} {name:?}: declare it in passwd.{what}s, or use its id");
                findings.error(owner.at, &field, text);
            }
        },
    }
    0
}
