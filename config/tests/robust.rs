//! No document is a panic: ours with pieces cut out, doubled, swapped and replaced.
//!
//! Says nothing of what comes out, but that what is refused says why.

use config::ignition::gather::Fetch;
use config::resource::Resource;
use config::translate::{Host, resolve};
use proptest::prelude::*;
use std::path::Path;

struct Nobody;

impl Fetch for Nobody {
    fn fetch(&mut self, _: &Resource) -> Result<Vec<u8>, String> {
        Err("nobody answers".to_owned())
    }
}

fn documents() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut documents = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let cases = text.split("## ").skip(1);
        documents.extend(cases.filter_map(|case| {
            let document = case.split_once('\n')?.1.split("\n->\n").next()?;
            Some(document.to_owned())
        }));
    }
    documents
}

/// What a value may be replaced by.
const PIECES: [&str; 16] = [
    "null",
    "[]",
    "{}",
    "-1",
    "9999999999999999999",
    "\"\"",
    "\"/\"",
    "\"/etc/\\u0000\"",
    "\"data:,%\"",
    "\"data:;base64,=\"",
    "\"%\"",
    "\"\\ud83d\\ude00\"",
    "[[[[",
    "}",
    ",",
    "true",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_damaged_document_is_refused_in_words_and_never_a_panic(
        which: prop::sample::Index,
        other: prop::sample::Index,
        from: prop::sample::Index,
        to: prop::sample::Index,
        at: prop::sample::Index,
        piece: prop::sample::Index,
    ) {
        let all = documents_once();
        let mut text: Vec<char> = which.get(all).chars().collect();
        let donor: Vec<char> = other.get(all).chars().collect();
        let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 24));
        let replacement: Vec<char> = match piece.index(PIECES.len() + 2) {
            0 => Vec::new(),
            1 => donor.iter().skip(at.index(donor.len() + 1)).take(40).copied().collect(),
            n => PIECES[n - 2].chars().collect(),
        };
        text.splice(from..to, replacement);
        let text: String = text.into_iter().collect();
        let resolved = resolve("x", text.as_bytes(), &Host::default(), &mut Nobody);
        prop_assert_eq!(resolved.tree.is_none(), !resolved.errors().is_empty());
    }

    #[test]
    fn bytes_are_never_a_panic(bytes: Vec<u8>) {
        let resolved = resolve("x", &bytes, &Host::default(), &mut Nobody);
        prop_assert!(resolved.tree.is_none());
    }
}

fn documents_once() -> &'static [String] {
    static ALL: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    ALL.get_or_init(documents)
}
