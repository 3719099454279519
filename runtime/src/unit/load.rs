//! Reads a folder of Quadlet files.
//!
//! A file that is wrong never stops the others: it comes back as an error beside them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Problem, Unit, UnitError, drop_ins, resolve};

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
/// As podman does for root, `users` is left to others. A template becomes units by its instances:
/// those that are linked, the default one, those that others name, and those in `asked`.
///
/// # Errors
/// When the folder exists and cannot be read.
pub fn folder(folder: &Path, asked: &BTreeSet<String>) -> io::Result<Loaded> {
    let mut loaded = Loaded::default();
    let files = files(folder)?;
    let (templates, plain): (Vec<_>, Vec<_>) = files.iter().partition(|path| is_template(path));
    for path in plain {
        match file_in(path, folder) {
            Ok(unit) => loaded.add(unit),
            Err(error) => loaded.errors.push(error),
        }
    }
    let templates = Templates::read(&templates, folder, &mut loaded);
    for name in templates.defaults() {
        templates.instance(&name, true, &mut loaded);
    }
    for name in asked {
        templates.instance(name, false, &mut loaded);
    }
    // An instance may name others; a template that names ever new ones ends here.
    for _ in 0..MOST_ROUNDS {
        let missing = loaded.missing();
        if missing.is_empty() {
            break;
        }
        for name in missing {
            templates.instance(&name, false, &mut loaded);
        }
    }
    loaded.units.sort_by(|a, b| a.name.cmp(&b.name));
    resolve::install(&mut loaded.units);
    for (path, file) in resolve::names(&mut loaded.units) {
        loaded.units.retain(|u| u.path != path);
        loaded.refuse(
            &path,
            format!("{file} is not there, or has an error of its own"),
        );
    }
    Ok(loaded)
}

/// Instances may name instances so deep.
const MOST_ROUNDS: usize = 8;

/// Templates that were understood, by what stands before their instance's name.
struct Templates<'a> {
    folder: &'a Path,
    units: Vec<Unit>,
}

impl<'a> Templates<'a> {
    fn read(paths: &[&PathBuf], folder: &'a Path, loaded: &mut Loaded) -> Self {
        let mut units = Vec::new();
        for path in paths {
            // Its mistakes are told before anybody asks for an instance.
            match file_in(path, folder) {
                Ok(unit) => units.push(unit),
                Err(error) => loaded.errors.push(error),
            }
        }
        Self { folder, units }
    }

    fn defaults(&self) -> Vec<String> {
        let named = |unit: &Unit| {
            Some(
                unit.name
                    .replace("@.", &format!("@{}.", unit.default_instance.as_ref()?)),
            )
        };
        self.units.iter().filter_map(named).collect()
    }

    /// Adds the instance of this name, if there is a template and no file of its own for it.
    fn instance(&self, name: &str, installed: bool, loaded: &mut Loaded) {
        let is_there = loaded.units.iter().any(|unit| unit.name == name);
        let template = self.units.iter().find(|unit| is_instance(name, &unit.name));
        let (false, Some(template)) = (is_there, template) else {
            return;
        };
        let extension = template.path.extension().unwrap_or_default();
        let (prefix, _) = template.name.split_once('@').unwrap_or_default();
        let of_service = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let instance = of_service.split_once('@').map_or("", |(_, rest)| rest);
        let suffix = template.name.split_once('@').map_or("", |(_, rest)| rest);
        let suffix = suffix.rsplit_once('.').map_or("", |(kind, _)| kind);
        let instance = instance.strip_suffix(suffix).unwrap_or(instance);
        let file = format!("{prefix}@{instance}.{}", extension.to_string_lossy());
        match read(
            &template.path,
            &template.path.with_file_name(file),
            self.folder,
        ) {
            Ok(mut unit) => {
                unit.path.clone_from(&template.path);
                if !installed {
                    unit.wanted_by.clear();
                    unit.required_by.clear();
                }
                loaded.add(unit);
            }
            Err(error) => loaded.errors.push(error),
        }
    }
}

/// `web@a.service` is one of `web@.service`, `data@a-volume.service` one of `data@-volume.service`.
fn is_instance(name: &str, template: &str) -> bool {
    let parts = template.split_once('@');
    parts.is_some_and(|(prefix, suffix)| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('@'))
            .and_then(|rest| rest.strip_suffix(suffix))
            .is_some_and(|instance| !instance.is_empty())
    })
}

impl Loaded {
    fn add(&mut self, unit: Unit) {
        if self.units.iter().any(|u| u.name == unit.name) {
            let message = format!("another file is {} already; rename one", unit.name);
            self.refuse(&unit.path, message);
            return;
        }
        self.units.push(unit);
    }

    /// Instances that units name and that are not there.
    fn missing(&self) -> BTreeSet<String> {
        let named = |unit: &Unit| {
            let timed = match &unit.kind {
                super::Kind::Timer(timer) => Some(timer.unit.clone()),
                _ => None,
            };
            let names = unit.needs().chain(&unit.wants).cloned();
            names.chain(timed).collect::<Vec<_>>()
        };
        let all = self.units.iter().flat_map(named);
        all.filter(|name| name.contains('@') && !self.units.iter().any(|u| u.name == *name))
            .collect()
    }

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

/// Reads one file, with the drop-ins beside it.
///
/// # Errors
/// What is wrong with it; a file that cannot be read is an error without a line.
pub fn file(path: &Path) -> Result<Unit, UnitError> {
    let beside = path.parent().unwrap_or(Path::new("."));
    file_in(path, beside)
}

fn file_in(path: &Path, root: &Path) -> Result<Unit, UnitError> {
    read(path, path, root)
}

/// Reads `file` under the name of `path`, with that one's drop-ins.
fn read(file: &Path, path: &Path, root: &Path) -> Result<Unit, UnitError> {
    let whole = |file: Option<PathBuf>, message| UnitError {
        path: path.to_path_buf(),
        problems: vec![Problem {
            line: 0,
            message,
            file,
        }],
    };
    let own = text(file).map_err(|message| whole(None, message))?;
    let mut drop_ins = Vec::new();
    for file in drop_ins::of(path, root).map_err(|e| whole(None, format!("find drop-ins: {e}")))? {
        let text = text(&file).map_err(|message| whole(Some(file.clone()), message))?;
        drop_ins.push((file, text));
    }
    Unit::with_drop_ins(path, &own, &drop_ins)
}

fn text(path: &Path) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| format!("expected UTF-8 text: {e}"))
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    const KINDS: [&str; 8] = [
        "container",
        "volume",
        "image",
        "network",
        "pod",
        "kube",
        "build",
        "timer",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::MountSource;
    use crate::unit::Kind;

    #[test]
    fn a_bad_file_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        put("web.container", "[Container]\nImage=web.image\n");
        put("web.image", "[Image]\nImage=r/web:2\n");
        put("bad.container", "[Container]\nImge=x\n");
        put("p.pod", "[Pod]\n");
        put("notes.txt", "hello");
        let loaded = super::folder(folder.path(), &BTreeSet::new()).unwrap();
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
        let loaded = super::folder(folder.path(), &BTreeSet::new()).unwrap();
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

    fn named(loaded: &Loaded) -> Vec<&str> {
        loaded.units.iter().map(|u| u.name.as_str()).collect()
    }

    #[test]
    fn a_template_is_read_through_its_linked_instances() {
        let template = "[Container]\nImage=x\nHostName=%i\n[Install]\nWantedBy=default.target\n";
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("web@.container"), template).unwrap();
        let alone = super::folder(folder.path(), &BTreeSet::new()).unwrap();
        assert!(alone.units.is_empty() && alone.errors.is_empty());
        std::os::unix::fs::symlink("web@.container", at("web@a.container")).unwrap();
        let loaded = super::folder(folder.path(), &BTreeSet::new()).unwrap();
        assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        assert_eq!(named(&loaded), ["web@a.service"]);
        assert!(loaded.units[0].starts_at_boot());
        assert_eq!(options(&loaded.units[0]).hostname.as_deref(), Some("a"));
    }

    #[test]
    fn an_instance_comes_by_default_by_another_unit_or_by_request() {
        let files = [
            (
                "a@.container",
                "[Container]\nImage=x\nHostName=%i\n[Install]\nWantedBy=default.target\nDefaultInstance=one\n",
            ),
            ("a@two.container.d/1.conf", "[Container]\nImage=y\n"),
            (
                "b.container",
                "[Unit]\nWants=a@two.service\n[Container]\nImage=x\n",
            ),
            ("bad@.container", "[Container]\nImage=x\nHostname=%i\n"),
        ];
        let (folder, _) = tree(&files);
        let asked = BTreeSet::from(["a@three.service".into(), "none@x.service".into()]);
        let loaded = super::folder(folder.path(), &asked).unwrap();
        let names = [
            "a@one.service",
            "a@three.service",
            "a@two.service",
            "b.service",
        ];
        assert_eq!(named(&loaded), names);
        let boot: Vec<bool> = loaded.units.iter().map(Unit::starts_at_boot).collect();
        assert_eq!(
            boot,
            [true, false, false, false],
            "only the default one is installed"
        );
        assert_eq!(options(&loaded.units[2]).image, "y", "by its own drop-in");
        assert!(loaded.units[2].path.ends_with("a@.container"));
        assert_eq!(loaded.errors.len(), 1, "{:?}", loaded.errors);
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
        let loaded = folder(Path::new("/nonexistent/units"), &BTreeSet::new()).unwrap();
        assert!(loaded.units.is_empty() && loaded.errors.is_empty());
    }
}
