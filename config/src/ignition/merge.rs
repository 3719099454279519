//! Two documents become one: what the child says holds, what it leaves out stays the parent's.
//!
//! Both have passed the check. Lists of objects are merged by what tells their elements apart;
//! files, folders and links are told apart across their three lists.

use super::schema::{ROOT, Shape, Table};
use crate::json::{Member, Node, Value};

/// Lists whose elements are arguments or fragments: the child's come after the parent's, all of them.
const APPENDED: [&str; 1] = ["append"];
const NODES: [&str; 3] = ["files", "directories", "links"];

/// Merges a child into its parent.
#[must_use]
pub fn merge(mut parent: Node, child: Node) -> Node {
    displace(&mut parent, &child);
    object(parent, child, &ROOT)
}

/// Takes out of the parent what has another kind in the child.
fn displace(parent: &mut Node, child: &Node) {
    let Some(told) = child.get("storage") else {
        return;
    };
    let Some(Value::Object(storage)) = member(parent, "storage").map(|node| &mut node.value) else {
        return;
    };
    for list in storage {
        let others = NODES.iter().filter(|kind| **kind != list.name);
        let taken: Vec<&str> = others
            .flat_map(|kind| told.list(kind).filter_map(|node| node.text("path")))
            .collect();
        if let (true, Value::List(nodes)) = (NODES.contains(&&*list.name), &mut list.node.value) {
            nodes.retain(|node| !node.text("path").is_some_and(|path| taken.contains(&path)));
        }
    }
}

fn member<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let Value::Object(members) = &mut node.value else {
        return None;
    };
    let found = members.iter_mut().find(|member| member.name == name)?;
    Some(&mut found.node)
}

fn object(mut parent: Node, child: Node, table: &Table) -> Node {
    let (Value::Object(ours), Value::Object(theirs)) = (&mut parent.value, child.value) else {
        return parent;
    };
    // Errors about the whole are about the one that had the last word.
    parent.at = child.at;
    for member in theirs {
        if member.node.value == Value::Null {
            continue;
        }
        let Some(field) = table.fields.iter().find(|field| field.name == member.name) else {
            continue;
        };
        let index = ours.iter().position(|our| our.name == member.name);
        let old = index.map(|index| ours.remove(index));
        let node = match old.filter(|old| old.node.value != Value::Null) {
            None => member.node,
            Some(old) => value(old.node, member.node, &field.shape, field.name),
        };
        let member = Member { node, ..member };
        ours.insert(index.unwrap_or(ours.len()), member);
    }
    parent
}

fn value(parent: Node, child: Node, shape: &Shape, name: &str) -> Node {
    match shape {
        Shape::Object(table) => object(parent, child, table),
        Shape::Objects(table) => list(parent, child, &Shape::Object(table), name),
        Shape::Texts => list(parent, child, &Shape::Text, name),
        _ => child,
    }
}

fn list(mut parent: Node, child: Node, inner: &Shape, name: &str) -> Node {
    let (Value::List(ours), Value::List(theirs)) = (&mut parent.value, child.value) else {
        return parent;
    };
    for element in theirs {
        let same = match inner {
            _ if APPENDED.contains(&name) => None,
            Shape::Object(Table { key: Some(key), .. }) => {
                let wanted = element.text(key);
                ours.iter()
                    .position(|our| same(our.text(key), wanted, name))
            }
            _ => ours.iter().position(|our| our.value == element.value),
        };
        let Some(index) = same else {
            ours.push(element);
            continue;
        };
        let old = ours.remove(index);
        // A header without a value takes the parent's away.
        if name == "httpHeaders" && element.get("value").is_none() {
            continue;
        }
        ours.insert(index, value(old, element, inner, name));
    }
    parent
}

fn same(ours: Option<&str>, theirs: Option<&str>, list: &str) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if list == "httpHeaders" => ours.eq_ignore_ascii_case(theirs),
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => false,
    }
}
