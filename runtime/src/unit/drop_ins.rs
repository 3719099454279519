//! Finds the drop-ins of a unit file.
//!
//! It reads folders and no file: what a drop-in says is for [`super::load`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `a-b@1.container` takes `*.conf` from `container.d`, `a-.container.d`, `a-b@.container.d` and
/// `a-b@1.container.d`; of two files with one name the more special one counts (systemd.unit(5)).
pub fn of(path: &Path, root: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return Ok(Vec::new());
    };
    let mut folders = vec![format!("{extension}.d")];
    let dashes = stem.match_indices('-').map(|(at, _)| &stem[..=at]);
    folders.extend(dashes.map(|prefix| format!("{prefix}.{extension}.d")));
    if let Some((prefix, _)) = stem.split_once('@') {
        folders.push(format!("{prefix}@.{extension}.d"));
    }
    folders.push(format!("{name}.d"));
    let mut found = BTreeMap::new();
    let beside = path.parent().unwrap_or(root);
    for folder in folders {
        for parent in [root, beside] {
            let entries = match fs::read_dir(parent.join(&folder)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let file = entry?.path();
                if file.extension().is_some_and(|e| e == "conf") {
                    found.insert(file.file_name().unwrap_or_default().to_owned(), file);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}
