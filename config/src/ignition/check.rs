//! A document against the table: unknown fields, wrong shapes, what its version does not have,
//! what is refused, and what stands twice.
//!
//! Goes on after an error, so that one look shows all of them.

use super::schema::{Fate, Field, ROOT, Shape, Table};
use super::version::{self, Minor};
use crate::json::{Node, Value};
use crate::problem::Findings;

/// Checks a document on its own.
#[must_use]
pub fn document(node: &Node) -> Findings {
    let mut findings = Findings::default();
    if !matches!(node.value, Value::Object(_)) {
        let text = format!("expected an object, found {}", node.kind());
        findings.error(node.at, "", text);
        return findings;
    }
    match version::of(node) {
        Ok(minor) => object(node, &ROOT, "", minor, &mut findings),
        Err(problem) => findings.errors.push(problem),
    }
    findings
}

fn object(node: &Node, table: &Table, path: &str, minor: Minor, findings: &mut Findings) {
    let Value::Object(members) = &node.value else {
        return;
    };
    for member in members {
        let path = joined(path, &member.name);
        let known = table.fields.iter().find(|field| field.name == member.name);
        match known {
            None => findings.error(member.at, &path, unknown(&member.name, table)),
            Some(field) if field.since > minor.0 => {
                let text = format!(
                    "came with version 3.{}.0, and this document says 3.{}.0",
                    field.since, minor.0
                );
                findings.error(member.at, &path, text);
            }
            Some(_) if member.node.value == Value::Null => {}
            Some(field) => of_field(&member.node, field, &path, minor, findings),
        }
    }
    for field in table.fields {
        if field.must && node.get(field.name).is_none() {
            findings.error(node.at, &joined(path, field.name), "is missing");
        }
    }
}

fn of_field(node: &Node, field: &Field, path: &str, minor: Minor, findings: &mut Findings) {
    match field.fate {
        Fate::Refused(reason) if !is_empty(node) => {
            findings.error(node.at, path, format!("is refused: {reason}"));
            return;
        }
        Fate::Ignored(reason) => findings.note(node.at, path, format!("has no effect: {reason}")),
        Fate::Refused(_) | Fate::Done => {}
    }
    shape(node, &field.shape, path, minor, findings);
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn shape(node: &Node, wanted: &Shape, path: &str, minor: Minor, findings: &mut Findings) {
    match (wanted, &node.value) {
        (Shape::Text, Value::Text(_)) | (Shape::Flag, Value::Bool(_)) => {}
        (Shape::Number, Value::Number(text)) => {
            if text.parse::<i64>().is_err() {
                let text = format!("expected a whole number, found {text}");
                findings.error(node.at, path, text);
            }
        }
        (Shape::Texts | Shape::Objects(_), Value::List(list)) => {
            let inner = match wanted {
                Shape::Objects(table) => Shape::Object(table),
                _ => Shape::Text,
            };
            for (index, element) in list.iter().enumerate() {
                shape(
                    element,
                    &inner,
                    &format!("{path}[{index}]"),
                    minor,
                    findings,
                );
            }
            twice(list, &inner, path, findings);
        }
        (Shape::Object(table), Value::Object(_)) => object(node, table, path, minor, findings),
        _ => {
            let wanted = match wanted {
                Shape::Text => "a text",
                Shape::Number => "a whole number",
                Shape::Flag => "true or false",
                Shape::Texts | Shape::Objects(_) => "a list",
                Shape::Object(_) => "an object",
            };
            let text = format!("expected {wanted}, found {}", node.kind());
            findings.error(node.at, path, text);
        }
    }
}

/// Elements of one list that have the same name, path or source.
fn twice(list: &[Node], inner: &Shape, path: &str, findings: &mut Findings) {
    let Shape::Object(Table { key: Some(key), .. }) = inner else {
        return;
    };
    let mut seen = std::collections::BTreeMap::new();
    for (index, element) in list.iter().enumerate() {
        let Some(name) = element.text(key) else {
            continue;
        };
        // Header names are the same in any case (RFC 9110, section 5.1).
        let same = match path.ends_with("httpHeaders") {
            true => name.to_ascii_lowercase(),
            false => name.to_owned(),
        };
        if let Some(first) = seen.insert(same, index) {
            // A source may carry a secret, and is long.
            let text = match *key == "source" {
                true => format!("is the same as in {path}[{first}]"),
                false => format!("{name:?} stands in {path}[{first}] already"),
            };
            findings.error(element.at, &format!("{path}[{index}].{key}"), text);
        }
    }
}

fn unknown(name: &str, table: &Table) -> String {
    let near = table
        .fields
        .iter()
        .map(|field| (strsim::damerau_levenshtein(name, field.name), field.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, near)) => format!("unknown field, did you mean {near}?"),
        None => "unknown field".to_owned(),
    }
}

fn joined(path: &str, name: &str) -> String {
    // The name is the document's own and may be anything.
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    match path {
        "" => name,
        _ => format!("{path}.{name}"),
    }
}
