//! Unit files of this machine: names and texts of what a user names.
//!
//! An instance's text is its own file's, else its template's, as fleetctl looked for it.

use crate::unit::Options;
use formats::fleet::UnitName;
use std::path::{Path, PathBuf};

/// A unit that was named, with its text if there is a file of it here.
pub(super) fn named(word: &str) -> Result<(UnitName, Option<String>), String> {
    let path = Path::new(word);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name: UnitName = name.parse().map_err(|e| format!("{word}: {e}"))?;
    if path.is_file() {
        return Ok((name, Some(read(path)?)));
    }
    let template = name
        .template()
        .map(|template| path.with_file_name(template.as_str()));
    if let Some(template) = template.filter(|path| path.is_file()) {
        return Ok((name, Some(read(&template)?)));
    }
    if word.contains('/') {
        return Err(format!("{word}: there is no such file"));
    }
    Ok((name, None))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()))
}

/// All unit files of a folder, or the one file.
pub(super) fn below(from: &Path) -> Result<Vec<PathBuf>, String> {
    if from.is_file() {
        return Ok(vec![from.to_owned()]);
    }
    let entries = std::fs::read_dir(from).map_err(|e| format!("read {}: {e}", from.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.is_file() && name.is_some_and(|name| name.parse::<UnitName>().is_ok())
    });
    files.sort();
    Ok(files)
}

/// Checks a file; all that is wrong, line by line.
pub(super) fn verify(path: &Path) -> Result<(), String> {
    let (name, text) = named(&path.display().to_string())?;
    let text = text.ok_or_else(|| format!("{}: there is no such file", path.display()))?;
    Options::parse(&name, &text).map(drop).map_err(|problems| {
        let line = |p: &formats::unit_file::Problem| {
            format!("{}:{}: {}", path.display(), p.line, p.message)
        };
        problems.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// Whether a template makes its own instances.
pub(super) fn is_counted(name: &UnitName, text: &str) -> bool {
    Options::parse(name, text).is_ok_and(|options| options.count.is_some())
}
