//! Reads a folder of Quadlet files.
//!
//! A file that is wrong never stops the others: it comes back as an error beside them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Kind, Problem, Unit, UnitError};

/// All units of a folder, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Loaded {
    /// By name.
    pub units: Vec<Unit>,
    /// Files that are no units.
    pub errors: Vec<UnitError>,
}

/// Reads every Quadlet file in `folder` and its `users`-free subfolders; none is no error.
///
/// # Errors
/// When the folder exists and cannot be read.
pub fn folder(folder: &Path) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    for path in files(folder)? {
        match file(&path) {
            Ok(unit) => loaded.units.push(unit),
            Err(error) => loaded.errors.push(error),
        }
    }
    loaded.units.sort_by(|a, b| a.name.cmp(&b.name));
    resolve_images(&mut loaded);
    Ok(loaded)
}

/// Reads one file.
///
/// # Errors
/// What is wrong with it; a file that cannot be read is an error without a line.
pub fn file(path: &Path) -> Result<Unit, UnitError> {
    let text = fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|e| format!("expected UTF-8 text: {e}"))
    });
    match text {
        Ok(text) => Unit::parse(path, &text),
        Err(message) => Err(UnitError {
            path: path.to_path_buf(),
            problems: vec![Problem { line: 0, message }],
        }),
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    const KINDS: [&str; 7] = [
        "container",
        "volume",
        "image",
        "network",
        "pod",
        "kube",
        "build",
    ];
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if extension.is_some_and(|e| KINDS.contains(&e)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `Image=web.image` in a container becomes the reference that `web.image` names.
fn resolve_images(loaded: &mut Loaded) {
    let images: Vec<(String, String)> = loaded
        .units
        .iter()
        .filter_map(|unit| match &unit.kind {
            Kind::Image { image, .. } => {
                let file = unit.path.file_name()?.to_string_lossy().into_owned();
                Some((file, image.clone()))
            }
            _ => None,
        })
        .collect();
    for unit in &mut loaded.units {
        if let Kind::Container(options) = &mut unit.kind
            && let Some((_, image)) = images.iter().find(|(file, _)| *file == options.image)
        {
            options.image.clone_from(image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("web.container", "[Container]\nImage=web.image\n");
        put("web.image", "[Image]\nImage=r/web:2\n");
        put("bad.container", "[Container]\nImge=x\n");
        put("p.pod", "[Pod]\n");
        put("notes.txt", "hello");
        let loaded = super::folder(folder.path()).unwrap();
        let names: Vec<_> = loaded.units.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["web-image.service", "web.service"]);
        let Kind::Container(options) = &loaded.units[1].kind else {
            panic!("{:?}", loaded.units[1])
        };
        assert_eq!(options.image, "r/web:2");
        assert_eq!(loaded.errors.len(), 2);
        let text = loaded.errors[0].to_string();
        assert!(
            text.contains("bad.container:2: unknown key 'Imge'"),
            "{text}"
        );
        assert!(text.contains("did you mean 'Image'?"), "{text}");
    }

    #[test]
    fn a_missing_folder_has_no_units() {
        let loaded = folder(Path::new("/nonexistent/units")).unwrap();
        assert!(loaded.units.is_empty() && loaded.errors.is_empty());
    }
}
