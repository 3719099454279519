//! The version that a document says it is of.
//!
//! Only finished versions are read: an experimental one may have meant anything.

use crate::json::Node;
use crate::problem::Problem;

/// The `x` of `3.x.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u8);

/// The newest that is read.
pub const NEWEST: Minor = Minor(5);

/// Reads `ignition.version`.
///
/// # Errors
/// It is missing or another one; with where it stands.
pub fn of(document: &Node) -> Result<Minor, Problem> {
    let refuse = |node: &Node, text: String| Err(Problem::new(node.at, "ignition.version", text));
    let Some(ignition) = document.get("ignition") else {
        let text = "is missing: expected {\"ignition\": {\"version\": \"3.5.0\"}, …}".to_owned();
        return refuse(document, text);
    };
    let Some(version) = ignition.get("version") else {
        return refuse(
            ignition,
            "is missing: expected \"3.0.0\" to \"3.5.0\"".to_owned(),
        );
    };
    let Some(text) = version.as_text() else {
        let text = format!("expected a text like \"3.5.0\", found {}", version.kind());
        return refuse(version, text);
    };
    let known = (0..=NEWEST.0).find(|minor| text == format!("3.{minor}.0"));
    if let Some(minor) = known {
        return Ok(Minor(minor));
    }
    let hint = match text {
        _ if text.starts_with("2.") || text.starts_with("1.") => {
            ": versions before 3 are another language; write it in Butane"
        }
        _ if text.ends_with("-experimental") => ": experimental versions change their meaning",
        _ if text.starts_with("3.") => {
            ": newer than this release; choose version 1.6.0 of Butane's fcos variant, which makes 3.5.0"
        }
        _ => "",
    };
    refuse(
        version,
        format!("expected \"3.0.0\" to \"3.5.0\", found {text:?}{hint}"),
    )
}
