//! Configurations of ours, good and bad, field by field, and what each comes to.
//!
//! `tests/cases/*.txt`: `## what it shows`, the document, `->`, and the tree, the errors and the notes.
//! `SKEG_BLESS=1 cargo test -p config --test snapshots` writes what comes out now.

use config::ignition::gather::Fetch;
use config::resource::{Address, Resource};
use config::translate::{Host, resolve};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// A server's files.
struct Server;

impl Fetch for Server {
    fn fetch(&mut self, resource: &Resource) -> Result<Vec<u8>, String> {
        let Address::Http(url) = &resource.address else {
            return Err("not on a server".to_owned());
        };
        let path = url.trim_start_matches("https://server.test/");
        let child = |storage: &str| format!("{{\"ignition\":{{\"version\":\"3.1.0\"}},{storage}}}");
        Ok(match path {
            "motd" => b"hello\n".to_vec(),
            "motd.gz" => packed(b"hello\n"),
            "bomb.gz" => packed(&vec![0; 65 << 20]),
            "named" if resource.headers == [("X-Name".to_owned(), "me".to_owned())] => b"me".to_vec(),
            "child.ign" => child(
                r#""storage":{"files":[{"path":"/etc/a","mode":384},{"path":"/etc/c","contents":{"source":"data:,child"}}]}"#,
            )
            .into_bytes(),
            "kinds.ign" => child(r#""storage":{"directories":[{"path":"/etc/a"}]}"#).into_bytes(),
            "loop.ign" => br#"{"ignition":{"version":"3.0.0","config":{"merge":[{"source":"https://server.test/loop.ign"}]}}}"#.to_vec(),
            "bad.ign" => child("\n\"storage\":{\"fils\":[]}").into_bytes(),
            _ => return Err("the server answered 404 Not Found".to_owned()),
        })
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn outcome(document: &str) -> String {
    let host = Host {
        image_passwd: "skeg-engine:x:64902:64902::/:/bin/false\n".to_owned(),
        image_group: "skeg-engine:x:64902:\n".to_owned(),
        earlier_passwd: "root:x:0:0::/:/bin/false\nold:x:1007:1007::/:/bin/false\n".to_owned(),
        earlier_group: "old:x:1007:\n".to_owned(),
    };
    let resolved = resolve("config.ign", document.as_bytes(), &host, &mut Server);
    let mut text = String::new();
    for error in resolved.errors() {
        let _ = writeln!(text, "error: {error}");
    }
    if let Some(tree) = &resolved.tree {
        text += &tree.to_string();
    }
    for note in resolved.notes() {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

#[test]
fn each_configuration_comes_to_what_its_snapshot_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let bless = std::env::var_os("SKEG_BLESS").is_some();
    let (mut count, mut wrong) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut blessed = String::new();
        for case in text.split("## ").skip(1) {
            let (name, rest) = case.split_once('\n').unwrap();
            let (document, wanted) = rest.split_once("\n->\n").unwrap_or((rest.trim_end(), ""));
            let got = outcome(document);
            if got.trim() != wanted.trim() {
                wrong.push(format!("{name}:\nexpected\n{}\ngot\n{got}", wanted.trim()));
            }
            let _ = write!(blessed, "## {name}\n{document}\n->\n{got}\n");
            count += 1;
        }
        if bless {
            std::fs::write(&path, blessed.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(
        count >= 80,
        "expected 80 configurations and more, found {count}"
    );
    assert!(bless || wrong.is_empty(), "{}", wrong.join("\n"));
}
