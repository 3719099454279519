//! A bundle: `config.json` read, with what callers write and the types lack made good.
//!
//! It changes no meaning: what it does not understand is left for the plan to refuse by name.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::Create;
use super::error::Error;
use crate::container::capabilities::Set;

/// A configuration and where its root is.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) directory: PathBuf,
    pub(super) spec: Spec,
    pub(super) rootfs: PathBuf,
    /// What was passed over, for the log.
    pub(super) warnings: Vec<String>,
}

impl Bundle {
    pub(super) fn load(options: &Create) -> Result<Self, Error> {
        let directory = std::fs::canonicalize(&options.bundle);
        let directory = directory.map_err(|e| Error::file("open bundle", &options.bundle, e))?;
        let path = directory.join(&options.config);
        let text = std::fs::read(&path).map_err(|e| Error::file("open", &path, e))?;
        let mut value: Value = serde_json::from_slice(&text)
            .map_err(|error| Error::Spec(format!("parse `{}`: {error}", path.display())))?;
        let version = value["ociVersion"].as_str().unwrap_or("");
        if !version.starts_with("1.") {
            return Err(Error::Spec(format!(
                "ociVersion: expected 1.x, found {version:?}"
            )));
        }
        refuse_lists(&value)?;
        let mut warnings = Vec::new();
        normalize(&mut value, &mut warnings);
        absolute_sources(&mut value, &directory);
        let spec: Spec = from_value(&value)
            .map_err(|error| Error::Spec(format!("parse `{}`: {error}", path.display())))?;
        let rootfs = rootfs(&spec, &directory)?;
        Ok(Self {
            directory,
            spec,
            rootfs,
            warnings,
        })
    }
}

/// The parser would take a list for an object whose fields may all be missing.
fn refuse_lists(value: &Value) -> Result<(), Error> {
    const OBJECTS: [&str; 14] = [
        "",
        "/root",
        "/process",
        "/process/user",
        "/process/capabilities",
        "/hooks",
        "/linux",
        "/linux/resources",
        "/linux/resources/memory",
        "/linux/resources/cpu",
        "/linux/resources/pids",
        "/linux/resources/blockIO",
        "/linux/seccomp",
        "/linux/personality",
    ];
    let list = OBJECTS
        .iter()
        .find(|at| value.pointer(at).is_some_and(Value::is_array));
    list.map_or(Ok(()), |at| {
        let field = at.trim_start_matches('/').replace('/', ".");
        Err(Error::Spec(format!(
            "{field}: expected an object, found a list"
        )))
    })
}

/// "Path values for bind mounts are either absolute or relative to the bundle."
fn absolute_sources(value: &mut Value, directory: &Path) {
    for mount in value["mounts"].as_array_mut().into_iter().flatten() {
        let options = mount["options"].as_array().into_iter().flatten();
        let mut words = options.filter_map(Value::as_str);
        let is_bind =
            mount["type"] == "bind" || words.any(|word| word == "bind" || word == "rbind");
        let source = mount["source"].as_str().map(Path::new);
        if let Some(source) = source.filter(|source| is_bind && source.is_relative()) {
            let absolute = directory.join(source).display().to_string();
            mount["source"] = absolute.into();
        }
    }
}

/// By way of text: read from a `Value`, all types of the specification would be in the program twice.
pub(super) fn from_value<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    serde_json::from_slice(&serde_json::to_vec(value)?)
}

fn rootfs(spec: &Spec, directory: &Path) -> Result<PathBuf, Error> {
    let root = spec.root().as_ref();
    let root = root.ok_or_else(|| Error::Spec("root: missing".into()))?;
    if root.path().as_os_str().is_empty() {
        return Err(Error::Spec("root.path: empty".into()));
    }
    let path = directory.join(root.path());
    let path = std::fs::canonicalize(&path).map_err(|e| Error::file("open rootfs", &path, e))?;
    if !path.is_dir() {
        return Err(Error::Spec(format!(
            "root.path: `{}` is not a directory",
            path.display()
        )));
    }
    Ok(path)
}

/// What the types do not take and every runtime does.
pub(super) fn normalize(value: &mut Value, warnings: &mut Vec<String>) {
    if let Some(process) = value.get_mut("process") {
        normalize_process(process, warnings);
    }
    for mount in value["mounts"].as_array_mut().into_iter().flatten() {
        // Relative ones are taken from the root: "SHOULD be absolute".
        if let Some(destination) = mount["destination"].as_str()
            && !destination.starts_with('/')
        {
            mount["destination"] = format!("/{destination}").into();
        }
    }
}

/// The same for one process.
pub(super) fn normalize_process(process: &mut Value, warnings: &mut Vec<String>) {
    if process.get("user").is_none() {
        process["user"] = serde_json::json!({});
    }
    let sets = process["capabilities"].as_object_mut();
    for (set, names) in sets.into_iter().flatten() {
        let Some(names) = names.as_array_mut() else {
            continue;
        };
        names.retain(|name| {
            let known = name.as_str().is_some_and(|name| Set::named(name).is_some());
            if !known {
                warnings.push(format!("unknown capability {name} in {set} passed over"));
            }
            known
        });
    }
    // The types' names for these lack a word.
    const FLAGS: [(&str, &str); 2] = [
        ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
        ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ];
    if process.get("scheduler").is_some_and(Value::is_object) {
        let flags = process["scheduler"]["flags"].as_array_mut();
        for flag in flags.into_iter().flatten() {
            let known = FLAGS.iter().find(|(spec, _)| flag == spec);
            if let Some((_, name)) = known {
                *flag = (*name).into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_told_and_passed_over() {
        let mut value = serde_json::json!({
            "process": {"capabilities": {"bounding": ["CAP_KILL", "CAP_FLY"]}},
            "mounts": [{"destination": "data"}],
        });
        let mut warnings = Vec::new();
        normalize(&mut value, &mut warnings);
        let bounding = &value["process"]["capabilities"]["bounding"];
        assert_eq!(bounding, &serde_json::json!(["CAP_KILL"]));
        assert_eq!(value["mounts"][0]["destination"], "/data");
        assert_eq!(warnings.len(), 1);
    }
}
