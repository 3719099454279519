//! Reads a folder of Quadlet files.
//!
//! A file that is wrong never stops the others: it comes back as an error beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Kind, Problem, Unit, UnitError};
use crate::engine::options::MountSource;

/// All units of a folder, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Loaded {
    /// By name.
    pub units: Vec<Unit>,
    /// Files that are no units.
    pub errors: Vec<UnitError>,
}

/// Reads every Quadlet file in `folder` and its subfolders, with their drop-ins; none is no error.
///
/// As podman does for root, `users` is left to others. A template is read only under the names of
/// its instances.
///
/// # Errors
/// When the folder exists and cannot be read.
pub fn folder(folder: &Path) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let files = files(folder)?;
    for path in &files {
        if let Some(message) = template_without_instance(path, &files) {
            loaded.refuse(path, message);
            continue;
        }
        if is_template(path) {
            continue;
        }
        match file_in(path, folder) {
            Ok(unit) if loaded.units.iter().any(|u| u.name == unit.name) => {
                let message = format!("another file is {} already; rename one", unit.name);
                loaded.refuse(path, message);
            }
            Ok(unit) => loaded.units.push(unit),
            Err(error) => loaded.errors.push(error),
        }
    }
    loaded.units.sort_by(|a, b| a.name.cmp(&b.name));
    install(&mut loaded.units);
    resolve(&mut loaded);
    Ok(loaded)
}

impl Loaded {
    fn refuse(&mut self, path: &Path, message: String) {
        self.errors.push(UnitError {
            path: path.to_path_buf(),
            problems: vec![Problem::new(0, message)],
        });
    }
}

fn is_template(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with('@'))
}

fn template_without_instance(path: &Path, files: &[PathBuf]) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    let extension = path.extension()?.to_string_lossy();
    let instance_of = |other: &PathBuf| {
        let name = other.file_stem().unwrap_or_default().to_string_lossy();
        other.extension() == path.extension() && name.len() > stem.len() && name.starts_with(&*stem)
    };
    let alone = stem.ends_with('@') && !files.iter().any(instance_of);
    alone.then(|| {
        format!("a template starts nothing by itself: link it as {stem}NAME.{extension} for each instance")
    })
}

/// Reads one file, with the drop-ins beside it.
///
/// # Errors
/// What is wrong with it; a file that cannot be read is an error without a line.
pub fn file(path: &Path) -> Result<Unit, UnitError> {
    let beside = path.parent().unwrap_or(Path::new("."));
    file_in(path, beside)
}

fn file_in(path: &Path, root: &Path) -> Result<Unit, UnitError> {
    let whole = |file: Option<PathBuf>, message| UnitError {
        path: path.to_path_buf(),
        problems: vec![Problem {
            line: 0,
            message,
            file,
        }],
    };
    let own = text(path).map_err(|message| whole(None, message))?;
    let mut drop_ins = Vec::new();
    for file in drop_ins_of(path, root).map_err(|e| whole(None, format!("find drop-ins: {e}")))? {
        let text = text(&file).map_err(|message| whole(Some(file.clone()), message))?;
        drop_ins.push((file, text));
    }
    Unit::with_drop_ins(path, &own, &drop_ins)
}

fn text(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| format!("expected UTF-8 text: {e}"))
}

/// `a-b@1.container` takes `*.conf` from `container.d`, `a-.container.d`, `a-b@.container.d` and
/// `a-b@1.container.d`; of two files with one name the more special one counts (systemd.unit(5)).
fn drop_ins_of(path: &Path, root: &Path) -> io::Result<Vec<PathBuf>> {
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
        // A link to a folder could lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            let others = path.file_name().is_some_and(|name| name == "users");
            if extension != Some("d") && !others {
                found.extend(files(&path)?);
            }
        } else if extension.is_some_and(|e| KINDS.contains(&e)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `WantedBy=` and `RequiredBy=` of one unit are `Wants=` and `Requires=` of the other.
fn install(units: &mut [Unit]) {
    let by: Vec<(String, BTreeSet<String>, BTreeSet<String>)> = units
        .iter()
        .filter(|u| !u.wanted_by.is_empty() || !u.required_by.is_empty())
        .map(|u| (u.name.clone(), u.wanted_by.clone(), u.required_by.clone()))
        .collect();
    for unit in units {
        for (name, wanted_by, required_by) in &by {
            if wanted_by.contains(&unit.name) {
                unit.wants.insert(name.clone());
            }
            if required_by.contains(&unit.name) {
                unit.requires.insert(name.clone());
            }
        }
    }
}

/// What a container calls by another file: `Image=web.image` becomes the reference that the file names,
/// `Volume=data.volume:…` the volume. A file that is not there is an error, as in podman.
fn resolve(loaded: &mut Loaded) {
    let file = |unit: &Unit| {
        unit.path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
    };
    let mut images = BTreeMap::new();
    let mut volumes = BTreeMap::new();
    for unit in &loaded.units {
        match (&unit.kind, file(unit)) {
            (Kind::Image { image, .. }, Some(file)) => {
                images.insert(file, image.clone());
            }
            (Kind::Volume { name }, Some(_)) => {
                volumes.insert(unit.name.clone(), name.clone());
            }
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for unit in &mut loaded.units {
        let Kind::Container(options) = &mut unit.kind else {
            continue;
        };
        if options.image.ends_with(".image") {
            match images.get(&options.image) {
                Some(image) => options.image.clone_from(image),
                None => missing.push((unit.path.clone(), options.image.clone())),
            }
        }
        for service in &unit.requires {
            let Some(stem) = service.strip_suffix("-volume.service") else {
                continue;
            };
            let Some(name) = volumes.get(service) else {
                missing.push((unit.path.clone(), format!("{stem}.volume")));
                continue;
            };
            let called = MountSource::Volume(format!("systemd-{stem}"));
            for mount in options.mounts.iter_mut().filter(|m| m.source == called) {
                mount.source = MountSource::Volume(name.clone());
            }
        }
    }
    for (path, file) in missing {
        loaded.units.retain(|u| u.path != path);
        let message = format!("{file} is not there, or has an error of its own");
        loaded.refuse(&path, message);
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

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Loaded) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let loaded = super::folder(folder.path()).unwrap();
        (folder, loaded)
    }

    fn options(unit: &Unit) -> &crate::engine::options::ContainerOptions {
        match &unit.kind {
            Kind::Container(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn drop_ins_add_to_a_unit_and_their_mistakes_are_told_with_their_place() {
        let (_folder, loaded) = tree(&[
            ("web.container", "[Container]\nImage=x\nEnvironment=A=1\n"),
            (
                "web.container.d/20.conf",
                "[Container]\nEnvironment=B=special\n",
            ),
            ("container.d/10.conf", "[Container]\nUser=33\n"),
            (
                "container.d/20.conf",
                "[Container]\nEnvironment=B=general\n",
            ),
            ("bad.container", "[Container]\nImage=x\n"),
            ("bad.container.d/1.conf", "[Container]\nUzer=1\n"),
        ]);
        let web = options(&loaded.units[0]);
        assert_eq!(web.env, ["A=1", "B=special"]);
        assert_eq!(web.user.as_deref(), Some("33"));
        let text = loaded.errors[0].to_string();
        assert!(
            text.contains("bad.container.d/1.conf:2: unknown key"),
            "{text}"
        );
    }

    #[test]
    fn a_template_is_read_through_its_instances_and_refused_without_one() {
        let template = "[Container]\nImage=x\nHostName=%i\n[Install]\nWantedBy=default.target\n";
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("web@.container"), template).unwrap();
        let alone = super::folder(folder.path()).unwrap();
        assert!(alone.units.is_empty());
        assert!(alone.errors[0].to_string().contains("web@NAME.container"));
        std::os::unix::fs::symlink("web@.container", at("web@a.container")).unwrap();
        let loaded = super::folder(folder.path()).unwrap();
        assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        let names: Vec<_> = loaded.units.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["web@a.service"]);
        assert_eq!(options(&loaded.units[0]).hostname.as_deref(), Some("a"));
    }

    #[test]
    fn subfolders_are_read_and_two_files_of_one_name_are_told() {
        let (_folder, loaded) = tree(&[
            ("web.container", "[Container]\nImage=x\n"),
            ("app/db.container", "[Container]\nImage=x\n"),
            ("app/web.container", "[Container]\nImage=x\n"),
            ("users/mine.container", "[Container]\nImage=x\n"),
        ]);
        let names: Vec<_> = loaded.units.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(names, ["db.service", "web.service"]);
        assert_eq!(loaded.errors.len(), 1, "{:?}", loaded.errors);
    }

    #[test]
    fn a_volume_has_the_name_that_its_file_gives_and_a_missing_file_is_an_error() {
        let (_folder, loaded) = tree(&[
            (
                "web.container",
                "[Container]\nImage=x\nVolume=data.volume:/d\n",
            ),
            ("data.volume", "[Volume]\nVolumeName=mine\n"),
            ("lost.container", "[Container]\nImage=gone.image\n"),
            (
                "lone.container",
                "[Container]\nImage=x\nVolume=gone.volume:/d\n",
            ),
        ]);
        let web = loaded
            .units
            .iter()
            .find(|u| u.name == "web.service")
            .unwrap();
        let source = &options(web).mounts[0].source;
        assert_eq!(*source, MountSource::Volume("mine".into()));
        let told: Vec<_> = loaded.errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|t| t.contains("gone.image is not there")));
        assert!(told.iter().any(|t| t.contains("gone.volume is not there")));
    }

    #[test]
    fn wanted_by_a_unit_means_started_with_it() {
        let (_folder, loaded) = tree(&[
            ("web.container", "[Container]\nImage=x\n"),
            (
                "log.container",
                "[Container]\nImage=x\n[Install]\nWantedBy=web.service\n",
            ),
            (
                "db.container",
                "[Container]\nImage=x\n[Install]\nRequiredBy=web.service\n",
            ),
        ]);
        let web = loaded
            .units
            .iter()
            .find(|u| u.name == "web.service")
            .unwrap();
        assert!(web.wants.contains("log.service") && web.requires.contains("db.service"));
    }

    #[test]
    fn a_missing_folder_has_no_units() {
        let loaded = folder(Path::new("/nonexistent/units")).unwrap();
        assert!(loaded.units.is_empty() && loaded.errors.is_empty());
    }
}
