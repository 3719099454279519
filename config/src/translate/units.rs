//! `systemd.units`: Quadlet units are written, services that wrap a container become Quadlets,
//! drop-ins go beside them; every other unit is refused by name.
//!
//! The host has no systemd: a unit that would be lost in silence is an error.

use super::wrapped;
use crate::json::Node;
use crate::problem::{Findings, Spot};
use crate::tree::{Entry, Kind, Tree};
use formats::paths::QUADLET;

/// What Quadlet calls its files.
const KINDS: [&str; 5] = [".container", ".volume", ".network", ".pod", ".image"];
/// What systemd has beside services.
const OTHERS: [&str; 9] = [
    ".socket",
    ".timer",
    ".mount",
    ".automount",
    ".path",
    ".target",
    ".slice",
    ".swap",
    ".device",
];

/// Adds the units to the tree.
pub fn translate(config: &Node, tree: &mut Tree, findings: &mut Findings) {
    for (index, unit) in units(config) {
        let field = format!("systemd.units[{index}]");
        let name = unit.text("name").unwrap_or_default();
        if let Err(text) = check_name(name) {
            findings.error(at(unit, "name"), &format!("{field}.name"), text);
            continue;
        }
        if unit.flag("mask") == Some(true) {
            continue;
        }
        let contents = unit.text("contents").filter(|text| !text.trim().is_empty());
        match contents {
            Some(text) if is_quadlet(name) => quadlet(unit, name, text, &field, tree, findings),
            Some(text) if name.ends_with(".service") => {
                wrapper(unit, name, text, &field, tree, findings);
            }
            Some(_) => {
                let text = format!("{name} is refused: {}", instead(name));
                findings.error(at(unit, "name"), &field, text);
            }
            None => {}
        }
    }
    for (index, unit) in units(config) {
        rest(unit, &format!("systemd.units[{index}]"), tree, findings);
    }
}

/// Takes away what is masked, once everything else is there.
pub fn mask(config: &Node, tree: &mut Tree, findings: &mut Findings) {
    for (index, unit) in units(config) {
        if unit.flag("mask") != Some(true) {
            continue;
        }
        let name = unit.text("name").unwrap_or_default();
        let found = file_of(name, tree);
        for path in &found {
            tree.entries.remove(path);
        }
        if found.is_empty() && unit.get("contents").is_none() {
            let text = format!("has no effect: there is no {name} on this host");
            findings.note(
                at(unit, "mask"),
                &format!("systemd.units[{index}].mask"),
                text,
            );
        }
    }
}

fn units(config: &Node) -> impl Iterator<Item = (usize, &Node)> {
    let systemd = config.get("systemd").into_iter();
    systemd.flat_map(|node| node.list("units")).enumerate()
}

fn is_quadlet(name: &str) -> bool {
    KINDS.iter().any(|kind| name.ends_with(kind))
}

fn check_name(name: &str) -> Result<(), String> {
    let known = is_quadlet(name)
        || name.ends_with(".service")
        || OTHERS.iter().any(|kind| name.ends_with(kind));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    if stem.is_empty() || name.len() > 200 || !name.bytes().all(plain) {
        return Err("expected a unit's name like web.container or web.service".to_owned());
    }
    match known {
        true => Ok(()),
        false => Err(format!("{name:?} ends with no kind of unit")),
    }
}

fn quadlet(
    unit: &Node,
    name: &str,
    text: &str,
    field: &str,
    tree: &mut Tree,
    findings: &mut Findings,
) {
    let path = format!("{QUADLET}/{name}");
    if tree.entries.contains_key(&path) {
        let text = format!("{path} is in storage.files already");
        return findings.error(at(unit, "name"), field, text);
    }
    if unit.flag("enabled") == Some(false) {
        let text = "has no effect: a Quadlet unit starts at boot if its [Install] section says so; leave that out";
        findings.note(at(unit, "enabled"), &format!("{field}.enabled"), text);
    }
    tree.add(&path, Entry::file(text, 0o644));
}

fn wrapper(
    unit: &Node,
    name: &str,
    text: &str,
    field: &str,
    tree: &mut Tree,
    findings: &mut Findings,
) {
    let enabled = unit.flag("enabled") == Some(true);
    let spot = at(unit, "contents");
    let field = format!("{field}.contents");
    match wrapped::translate(name, text, enabled) {
        Err(problems) => {
            for (line, text) in problems {
                let line = if line > 0 {
                    format!("line {line}: ")
                } else {
                    String::new()
                };
                findings.error(spot, &field, format!("{name} is refused: {line}{text}"));
            }
        }
        Ok(made) => {
            let stem = name.trim_end_matches(".service");
            let path = format!("{QUADLET}/{stem}.container");
            if tree.entries.contains_key(&path) {
                let text = format!("becomes {path}, which is there already");
                return findings.error(spot, &field, text);
            }
            for text in made.notes {
                findings.note(spot, &field, text);
            }
            findings.note(spot, &field, format!("{name} is run as {stem}.container"));
            tree.add(&path, Entry::file(made.text, 0o644));
        }
    }
}

/// Drop-ins, and units without contents.
fn rest(unit: &Node, field: &str, tree: &mut Tree, findings: &mut Findings) {
    let name = unit.text("name").unwrap_or_default();
    if check_name(name).is_err() || unit.flag("mask") == Some(true) {
        return;
    }
    let found = file_of(name, tree);
    let has_contents = unit
        .text("contents")
        .is_some_and(|text| !text.trim().is_empty());
    for (index, dropin) in unit.list("dropins").enumerate() {
        let field = format!("{field}.dropins[{index}]");
        let file = dropin.text("name").unwrap_or_default();
        let spot = at(dropin, "name");
        if !file.ends_with(".conf") || file.len() < 6 || file.contains(['/', '\0']) {
            findings.error(
                spot,
                &format!("{field}.name"),
                "expected a name that ends with .conf",
            );
        } else if let Some(path) = found.first() {
            let text = dropin.text("contents").unwrap_or_default();
            tree.add(&format!("{path}.d/{file}"), Entry::file(text, 0o644));
        } else if !has_contents {
            let text = format!("there is no {name} on this host: {}", instead(name));
            findings.error(spot, &field, text);
        }
    }
    if found.is_empty() && !has_contents && unit.list("dropins").next().is_none() {
        alone(unit, name, field, findings);
    }
}

/// A unit that is only to be enabled or disabled, and is not in this configuration.
fn alone(unit: &Node, name: &str, field: &str, findings: &mut Findings) {
    if unit.flag("enabled") == Some(true) {
        let text = format!("there is no {name} on this host: {}", instead(name));
        findings.error(at(unit, "enabled"), &format!("{field}.enabled"), text);
    } else {
        let text = format!("has no effect: there is no {name} on this host");
        findings.note(unit.at, field, text);
    }
}

fn instead(name: &str) -> &'static str {
    match name {
        "docker.service" | "docker.socket" | "podman.socket" | "containerd.service" => {
            "containers are run by skeg's own engine, which is always on; leave it out"
        }
        _ if name.ends_with(".timer") => "timers of systemd are not run here; use a container",
        _ if name.ends_with(".mount")
            || name.ends_with(".swap")
            || name.ends_with(".automount") =>
        {
            "nothing but STATE is mounted here; use a volume"
        }
        _ if name.ends_with(".socket") => {
            "sockets are not activated here; publish a container's port"
        }
        _ => "it has no systemd; write a Quadlet unit, e.g. web.container",
    }
}

/// The Quadlet file that a unit comes from, if this configuration has it.
fn file_of(name: &str, tree: &Tree) -> Vec<String> {
    let mut candidates = vec![format!("{QUADLET}/{name}")];
    if let Some(stem) = name.strip_suffix(".service") {
        candidates.push(format!("{QUADLET}/{stem}.container"));
        for kind in ["volume", "network", "pod", "image"] {
            let stem = stem.strip_suffix(&format!("-{kind}"));
            candidates.extend(stem.map(|stem| format!("{QUADLET}/{stem}.{kind}")));
        }
    }
    let there = |path: &String| {
        is_quadlet(path)
            && tree
                .entries
                .get(path)
                .is_some_and(|entry| !matches!(entry.kind, Kind::Folder))
    };
    candidates.into_iter().filter(there).collect()
}

fn at(node: &Node, field: &str) -> Spot {
    node.get(field).map_or(node.at, |node| node.at)
}
