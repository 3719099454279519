//! Where a container's cgroup is: below the mount of cgroup2, as `linux.cgroupsPath` says.
//!
//! It makes the parents that are missing, and takes away what it made when the create fails.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources, Spec};

use super::args::Global;
use super::error::Error;
use super::maps::is_rootless;
use crate::container::cgroup::{Cgroup, Parents, Placement};
use crate::container::device_rules;

/// A container's cgroup, if it has one.
#[derive(Default)]
pub(super) struct Place {
    pub(super) cgroup: Option<Cgroup>,
    pub(super) parents: Vec<PathBuf>,
    pub(super) scope: Option<String>,
}

impl Place {
    /// Makes the cgroup and sets its limits.
    pub(super) fn make(global: &Global, id: &str, spec: &Spec) -> Result<Self, Error> {
        let linux = spec.linux().as_ref();
        let resources = effective(linux.and_then(|linux| linux.resources().as_ref()));
        let manager = global.cgroup_manager.as_deref();
        if global.systemd_cgroup || manager == Some("systemd") {
            return Err(Error::Other(
                "--systemd-cgroup is not supported yet: expected cgroupfs or disabled".into(),
            ));
        }
        if manager == Some("disabled") {
            return Ok(Self::default());
        }
        let asked = linux.and_then(|linux| linux.cgroups_path().clone());
        let made = mount().and_then(|mount| Self::make_below(mount, id, asked, &resources));
        match made {
            // A user to whom no cgroup is delegated gets none, unless a limit was asked for.
            Err(_) if is_rootless() && !limits(linux.and_then(|l| l.resources().as_ref())) => {
                Ok(Self::default())
            }
            made => made,
        }
    }

    fn make_below(
        mount: PathBuf,
        id: &str,
        asked: Option<PathBuf>,
        resources: &LinuxResources,
    ) -> Result<Self, Error> {
        let path = below_mount(asked.as_deref(), id);
        let parents = Parents::make(&mount, &path)?;
        let placement = Placement { mount, path };
        match Cgroup::create(&placement, Some(resources)) {
            Ok(cgroup) => Ok(Self {
                cgroup: Some(cgroup),
                parents: parents.made,
                scope: None,
            }),
            Err(error) => {
                parents.remove();
                Err(error.into())
            }
        }
    }

    /// Takes everything away again.
    pub(super) fn undo(&self) {
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.remove_blocking();
        }
        remove_parents(&self.parents);
    }
}

/// Removes the cgroups that were made above a container's, while they are empty.
pub(super) fn remove_parents(made: &[PathBuf]) {
    let made = made.to_vec();
    Parents { made }.remove();
}

/// The mount of cgroup2: the only one, or beside those of version 1.
fn mount() -> Result<PathBuf, Error> {
    let candidates = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let found = candidates
        .iter()
        .map(Path::new)
        .find(|path| is_cgroup2(path));
    found.map(Path::to_owned).ok_or_else(|| {
        Error::Other("cgroup: expected cgroup2 on /sys/fs/cgroup, found none".into())
    })
}

fn is_cgroup2(path: &Path) -> bool {
    Cgroup::open(path).is_ok()
}

/// Absolute paths are taken from the mount; others, and the default, from a folder of ours.
fn below_mount(asked: Option<&Path>, id: &str) -> PathBuf {
    let path = match asked.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) => Path::new("skeg-oci").join(path),
        None => Path::new("skeg-oci").join(id),
    };
    let normal = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    normal.collect()
}

/// Whether anything is asked for over the device rules that every container has.
fn limits(resources: Option<&LinuxResources>) -> bool {
    let Some(resources) = resources else {
        return false;
    };
    let mut rest = resources.clone();
    rest.set_devices(None);
    rest != LinuxResources::default() && rest != serde_json::from_slice(b"{}").unwrap_or_default()
}

/// The limits as they are set: over the spec's device rules, what every container may open.
pub(super) fn effective(resources: Option<&LinuxResources>) -> LinuxResources {
    let empty = || serde_json::from_slice(b"{}").unwrap_or_default();
    let mut resources: LinuxResources = resources.cloned().unwrap_or_else(empty);
    let rules = resources.devices().clone().unwrap_or_default();
    let all = |rule: &LinuxDeviceCgroup| {
        let everything = rule
            .access()
            .as_deref()
            .is_none_or(|access| access == "rwm");
        rule.allow() && rule.major().is_none() && rule.minor().is_none() && everything
    };
    if !rules.is_empty() && !rules.last().is_some_and(all) {
        let defaults = device_rules::default_rules().into_iter().skip(1);
        let rules = rules.into_iter().chain(defaults).collect();
        resources.set_devices(Some(rules));
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cgroups_path_leads_out_of_the_mount() {
        let path = |asked: &str| below_mount(Some(Path::new(asked)), "web");
        assert_eq!(path("/a/../../b"), Path::new("a/b"));
        assert_eq!(path("a/../b"), Path::new("skeg-oci/a/b"));
        assert_eq!(path(""), Path::new("skeg-oci/web"));
    }

    #[test]
    fn device_rules_alone_are_no_limits() {
        let parse = |text| serde_json::from_str::<LinuxResources>(text).unwrap();
        assert!(!limits(Some(&parse(r#"{"devices": [{"allow": false}]}"#))));
        assert!(limits(Some(&parse(r#"{"pids": {"limit": 3}}"#))));
    }

    #[test]
    fn what_every_container_opens_stays_allowed_over_the_spec_s_rules() {
        let text = r#"{"devices": [{"allow": false, "access": "rwm"}]}"#;
        let resources = effective(Some(&serde_json::from_str(text).unwrap()));
        let rules = resources.devices().clone().unwrap();
        assert!(rules.len() > 5 && !rules[0].allow() && rules[1].allow());
    }
}
