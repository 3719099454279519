//! Generations: written whole and durably, then current; two are kept.
//!
//! Never touches the current one.

use super::Places;
use super::place::{lay_over, put_absent};
use crate::resource::sha256;
use crate::source::Document;
use crate::tree::{Kind, Tree};
use formats::config::{self, Config};
use std::fs;
use std::io;
use std::path::Path;

/// The current generation, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What it says of itself.
    pub config: Config,
    /// What it comes to, a line an entry.
    pub shown: String,
    /// Its `/etc/passwd`.
    pub passwd: String,
    /// Its `/etc/group`.
    pub group: String,
    /// The files and links that it makes below `/etc`.
    pub paths: Vec<String>,
}

/// Reads the current generation; none if there is none.
///
/// # Errors
/// It is there, and is not understood.
pub fn accepted(places: &Places) -> Result<Option<Accepted>, String> {
    let current = places.generations.join("current");
    if fs::symlink_metadata(&current).is_err() {
        return Ok(None);
    }
    let path = current.join(config::FILE);
    let text = fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    let config: Config =
        serde_json::from_slice(&text).map_err(|e| format!("read {}: {e}", path.display()))?;
    if config.format != config::FORMAT {
        let (wanted, found) = (config::FORMAT, config.format);
        return Err(format!(
            "{}: expected format {wanted}, found {found}",
            path.display()
        ));
    }
    let read = |name: &str| fs::read_to_string(current.join(name)).unwrap_or_default();
    let shown = read(config::TREE);
    Ok(Some(Accepted {
        paths: files(&current.join(config::ETC), "/etc", 0),
        passwd: read("etc/passwd"),
        group: read("etc/group"),
        shown,
        config,
    }))
}

/// Every file and link below a folder, as paths below `shown`.
fn files(folder: &Path, shown: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = format!("{shown}/{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < 16 => {
                found.extend(files(&entry.path(), &path, depth + 1));
            }
            _ => found.push(path),
        }
    }
    found.sort();
    found
}

/// What the current generation puts at the end of files below `/etc`: their paths and the bytes.
#[must_use]
pub fn appended(places: &Places) -> Vec<(String, Vec<u8>)> {
    let folder = places.generations.join("current").join(config::APPEND);
    let paths = files(&folder, "", 0).into_iter();
    let read = |path: String| {
        let bytes = fs::read(folder.join(path.trim_start_matches('/'))).ok()?;
        Some((format!("/etc{path}"), bytes))
    };
    paths.filter_map(read).collect()
}

impl Accepted {
    /// Whether it was made of a document, or holds anything: every disk is made with an empty one.
    #[must_use]
    pub fn says_something(&self) -> bool {
        self.config.digest.is_some() || !self.paths.is_empty()
    }
}

/// Makes a tree the current generation; data below `/var` first, where it is absent.
///
/// # Errors
/// What could not be written; the generation before is then still the current one.
pub fn accept(places: &Places, document: &Document, tree: &Tree) -> io::Result<Config> {
    sys::durable::create_dir_all(&places.generations)?;
    let numbers = numbers(&places.generations)?;
    let current = current(&places.generations);
    let number = numbers.iter().max().map_or(1, |last| last + 1);
    let config = Config {
        format: config::FORMAT,
        generation: number,
        source: document.name.clone(),
        hostname: tree
            .text("/etc/hostname")
            .map(|name| name.trim().to_owned()),
        labels: Default::default(),
        digest: Some(sha256(&document.bytes)),
    };
    let folder = places.generations.join(number.to_string());
    let made = write(&folder, &config, tree)
        .and_then(|()| put_absent(&places.root, tree, "/var/"))
        .and_then(|()| switch(&places.generations, number));
    if let Err(e) = made {
        let _ = fs::remove_dir_all(&folder);
        return Err(e);
    }
    // The one before is kept for people to look at; older ones are of no use.
    for old in numbers.into_iter().filter(|old| Some(*old) != current) {
        let _ = fs::remove_dir_all(places.generations.join(old.to_string()));
    }
    Ok(config)
}

fn write(folder: &Path, config: &Config, tree: &Tree) -> io::Result<()> {
    fs::create_dir(folder)?;
    for layer in [config::ETC, config::APPEND] {
        let mut part = Tree::default();
        for (path, entry) in &tree.entries {
            let appended = matches!(entry.kind, Kind::Appended(_));
            let Some(rest) = path.strip_prefix("/etc/") else {
                continue;
            };
            let path = format!("/{layer}/{rest}");
            match (appended, layer == config::APPEND, &entry.kind) {
                (false, false, Kind::HardLink(target)) => {
                    // PID 1 copies files: two names of one are two files there.
                    let target = tree.entries.get(target).cloned();
                    part.entries.extend(target.map(|entry| (path, entry)));
                }
                (false, false, _) => {
                    part.entries.insert(path, entry.clone());
                }
                (true, true, Kind::Appended(bytes)) => {
                    let mut entry = entry.clone();
                    entry.kind = Kind::File(bytes.clone());
                    part.add(&path, entry);
                }
                _ => {}
            }
        }
        // Folders are the tree's in every layer: the last one that PID 1 lays gives them their modes.
        for (path, entry) in &mut part.entries {
            let named = path.strip_prefix(&format!("/{layer}/"));
            let named = named.and_then(|rest| tree.entries.get(&format!("/etc/{rest}")));
            if let (Kind::Folder, Some(named)) = (&entry.kind, named) {
                entry.clone_from(named);
            }
        }
        fs::create_dir(folder.join(layer))?;
        lay_over(folder, &part, &format!("/{layer}/"))?;
    }
    sys::durable::write(
        &folder.join(config::TREE),
        tree.to_string().as_bytes(),
        0o600,
    )?;
    let text = serde_json::to_vec(config).map_err(io::Error::other)?;
    sys::durable::write(&folder.join(config::FILE), &text, 0o644)?;
    // Folders and names too: the switch must not come to the disk before what it shows.
    rustix::fs::syncfs(fs::File::open(folder)?).map_err(Into::into)
}

fn switch(generations: &Path, number: u64) -> io::Result<()> {
    let new = generations.join(".current.new");
    sys::durable::remove(&new)?;
    std::os::unix::fs::symlink(number.to_string(), &new)?;
    sys::durable::rename(&new, &generations.join("current"))
}

fn numbers(generations: &Path) -> io::Result<Vec<u64>> {
    let entries = fs::read_dir(generations)?.flatten();
    Ok(entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect())
}

fn current(generations: &Path) -> Option<u64> {
    let target = fs::read_link(generations.join("current")).ok()?;
    target.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;
    use std::os::unix::fs::PermissionsExt;

    /// A tree of the tester's own files.
    fn tree(entries: &[(&str, Kind, u32)]) -> Tree {
        let mut tree = Tree::default();
        for (path, kind, mode) in entries {
            let entry = Entry {
                kind: kind.clone(),
                mode: *mode,
                uid: 0,
                gid: 0,
            };
            tree.add(path, entry);
        }
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        for entry in tree.entries.values_mut() {
            (entry.uid, entry.gid) = (uid.as_raw(), gid.as_raw());
        }
        tree
    }

    fn file(text: &str) -> Kind {
        Kind::File(text.into())
    }

    fn host() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "var"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let places = Places {
            generations: folder.path().join("generations"),
            root: folder.path().to_owned(),
        };
        (folder, places)
    }

    fn document(text: &str) -> Document {
        Document {
            name: "test".into(),
            bytes: text.into(),
        }
    }

    #[test]
    fn what_was_accepted_is_read_back_and_the_one_before_is_kept() {
        let (folder, places) = host();
        assert_eq!(accepted(&places), Ok(None));
        let one = tree(&[
            ("/etc/hostname", file("web-1\n"), 0o644),
            ("/etc/app", Kind::Folder, 0o700),
            ("/etc/app/key", file("s3cret"), 0o600),
            ("/etc/app/more", Kind::Appended("more".into()), 0o644),
            ("/etc/link", Kind::Link("app".into()), 0o777),
            ("/etc/twin", Kind::HardLink("/etc/hostname".into()), 0o644),
        ]);
        accept(&places, &document("one"), &one).unwrap();
        let found = accepted(&places).unwrap().unwrap();
        assert_eq!(found.config.hostname.as_deref(), Some("web-1"));
        assert_eq!(found.config.digest, Some(sha256(b"one")));
        assert!(!found.shown.contains("s3cret"), "{}", found.shown);
        assert_eq!(
            found.paths,
            ["/etc/app/key", "/etc/hostname", "/etc/link", "/etc/twin"]
        );
        let at = |name: &str| folder.path().join("generations/current").join(name);
        assert_eq!(fs::read_to_string(at("etc/twin")).unwrap(), "web-1\n");
        for layer in ["etc/app", "append/app"] {
            let mode = fs::metadata(at(layer)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{layer}");
        }
        for text in ["two", "three"] {
            accept(&places, &document(text), &one).unwrap();
        }
        assert_eq!(accepted(&places).unwrap().unwrap().config.generation, 3);
        let left = fs::read_dir(folder.path().join("generations"))
            .unwrap()
            .count();
        assert_eq!(left, 3, "two generations and the link");
    }

    #[test]
    fn data_stays_and_only_what_is_absent_is_made() {
        let (folder, places) = host();
        let seed = |text: &str| tree(&[("/var/lib/app/seed", file(text), 0o640)]);
        accept(&places, &document("one"), &seed("one")).unwrap();
        accept(&places, &document("two"), &seed("two")).unwrap();
        let path = folder.path().join("var/lib/app/seed");
        assert_eq!(fs::read_to_string(path).unwrap(), "one");
    }

    #[test]
    fn a_link_that_data_holds_leads_nobody_out_and_the_old_generation_stays() {
        let (folder, places) = host();
        accept(&places, &document("one"), &tree(&[])).unwrap();
        std::os::unix::fs::symlink("../etc", folder.path().join("var/trap")).unwrap();
        let trap = tree(&[("/var/trap/shadow", file("mine"), 0o600)]);
        let error = accept(&places, &document("two"), &trap).unwrap_err();
        assert!(error.to_string().contains("/var/trap"), "{error}");
        assert!(!folder.path().join("etc/shadow").exists());
        assert_eq!(accepted(&places).unwrap().unwrap().config.generation, 1);
    }

    #[test]
    fn a_cut_at_any_moment_before_the_switch_leaves_the_old_one() {
        let (folder, places) = host();
        accept(
            &places,
            &document("one"),
            &tree(&[("/etc/a", file("1"), 0o644)]),
        )
        .unwrap();
        // What a cut leaves: a folder that is not whole, and a link that was not renamed.
        let at = |name: &str| folder.path().join("generations").join(name);
        fs::create_dir_all(at("2/etc")).unwrap();
        std::os::unix::fs::symlink("2", at(".current.new")).unwrap();
        let found = accepted(&places).unwrap().unwrap();
        assert_eq!(found.config.generation, 1);
        accept(&places, &document("three"), &tree(&[])).unwrap();
        assert_eq!(accepted(&places).unwrap().unwrap().config.generation, 3);
    }
}
