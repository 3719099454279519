//! One configuration out of a document and those that it points at: replaced, or merged depth first.
//!
//! Fetches through whoever it is handed; bounds how many and how deep.

use super::{check, merge, version};
use crate::json::{self, Node};
use crate::problem::{Findings, Problem};
use crate::resource::{self, Address, Resource, shown};

/// No configuration is made of more documents.
const MOST: usize = 64;
/// No document points deeper.
const DEEPEST: usize = 8;

/// No document is larger, in bytes: files belong at URLs of their own.
const LARGEST: usize = 16 << 20;

/// Whoever fetches what is not in the document itself.
pub trait Fetch {
    /// Fetches the bytes as they lie there.
    ///
    /// # Errors
    /// What went wrong, without secrets.
    fn fetch(&mut self, resource: &Resource) -> Result<Vec<u8>, String>;

    /// Takes over the settings for what is fetched from now on: a document's own `ignition`.
    ///
    /// # Errors
    /// What of it cannot be, with its place.
    fn settings(&mut self, ignition: &Node) -> Result<(), Problem> {
        let _ = ignition;
        Ok(())
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Gathered {
    /// Everything merged; none when there were errors.
    pub config: Option<Node>,
    /// The documents' names, by index.
    pub documents: Vec<String>,
    /// What was found.
    pub findings: Findings,
}

/// Reads a document called `name`, and those that it points at.
pub fn gather(name: &str, text: &[u8], fetch: &mut dyn Fetch) -> Gathered {
    let mut gathering = Gathering {
        documents: Vec::new(),
        findings: Findings::default(),
        fetch,
    };
    let config = gathering.document(name.to_owned(), text, 0);
    let whole = gathering.findings.errors.is_empty();
    Gathered {
        config: config.filter(|_| whole),
        documents: gathering.documents,
        findings: gathering.findings,
    }
}

struct Gathering<'a> {
    documents: Vec<String>,
    findings: Findings,
    fetch: &'a mut dyn Fetch,
}

impl Gathering<'_> {
    fn document(&mut self, name: String, bytes: &[u8], depth: usize) -> Option<Node> {
        let index = self.documents.len();
        self.documents.push(name);
        let node = match parse(bytes, index) {
            Ok(node) => node,
            Err(problem) => {
                self.findings.errors.push(problem);
                return None;
            }
        };
        let mut findings = check::document(&node);
        if findings.errors.is_empty()
            && let Ok(minor) = version::of(&node)
        {
            resource::check(&node, minor, &mut findings);
        }
        let good = findings.errors.is_empty();
        self.findings.extend(findings);
        good.then_some(())?;
        let ignition = node.get("ignition")?;
        if let Err(problem) = self.fetch.settings(ignition) {
            self.findings.errors.push(problem);
            return None;
        }
        let Some(config) = ignition.get("config") else {
            return Some(node);
        };
        if let Some(other) = config.get("replace") {
            return self.child(other, "ignition.config.replace", depth);
        }
        let others: Vec<Node> = config.list("merge").cloned().collect();
        let mut merged = node;
        for (index, other) in others.iter().enumerate() {
            let field = format!("ignition.config.merge[{index}]");
            if let Some(child) = self.child(other, &field, depth) {
                merged = merge::merge(merged, child);
            }
        }
        Some(merged)
    }

    fn child(&mut self, node: &Node, field: &str, depth: usize) -> Option<Node> {
        let newest = version::NEWEST;
        let resource = Resource::read(node, field, newest, &mut self.findings)?;
        if depth == DEEPEST || self.documents.len() >= MOST {
            let text = format!("expected at most {MOST} documents, {DEEPEST} deep");
            self.findings.error(resource.at, field, text);
            return None;
        }
        let bytes = match fetched(self.fetch, &resource) {
            Ok(bytes) => bytes,
            Err(text) => {
                let field = format!("{field}.source");
                self.findings.error(resource.at, &field, text);
                return None;
            }
        };
        let name = match &resource.address {
            Address::Http(url) => shown(url),
            Address::Data(_) => format!("{}:{field}", self.documents[resource.at.document]),
        };
        self.document(name, &bytes, depth + 1)
    }
}

/// The bytes of a resource, unpacked and verified.
///
/// # Errors
/// What went wrong.
pub fn fetched(fetch: &mut dyn Fetch, resource: &Resource) -> Result<Vec<u8>, String> {
    let raw = match &resource.address {
        Address::Data(bytes) => bytes.clone(),
        Address::Http(_) => fetch.fetch(resource)?,
    };
    resource.finish(raw)
}

fn parse(bytes: &[u8], document: usize) -> Result<Node, Problem> {
    let at = crate::problem::Spot {
        document,
        ..Default::default()
    };
    let refuse = |text: &str| Err(Problem::new(at, "", text));
    if bytes.len() > LARGEST {
        return refuse("is larger than 16 MiB");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => {
            refuse("expected an Ignition document, found nothing")
        }
        Ok(text) if text.starts_with("#cloud-config") => refuse(
            "expected an Ignition document, found #cloud-config: translate it into Butane's YAML first",
        ),
        Ok(text) if text.starts_with("#!") => {
            refuse("expected an Ignition document, found a script: this host runs none")
        }
        Ok(text) if text.starts_with("variant:") => refuse(
            "expected an Ignition document, found Butane's YAML: run it through butane first",
        ),
        Ok(text) => json::parse(text, document),
        Err(e) => refuse(&format!(
            "expected UTF-8, and byte {} is none",
            e.valid_up_to()
        )),
    }
}
