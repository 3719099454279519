//! Joins units by what they call each other.
//!
//! Pure: files that are not there are told by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Kind, Unit};
use crate::engine::options::MountSource;

/// `WantedBy=` and `RequiredBy=` of one unit are `Wants=` and `Requires=` of the other.
pub fn install(units: &mut [Unit]) {
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
/// `Volume=data.volume:…` the volume, `Network=back.network` the network. Returned is what is not there: an
/// error, as in podman.
pub fn names(units: &mut [Unit]) -> Vec<(PathBuf, String)> {
    let file = |unit: &Unit| {
        unit.path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
    };
    let mut images = BTreeMap::new();
    let mut volumes = BTreeMap::new();
    let mut networks = BTreeMap::new();
    for unit in units.iter() {
        match (&unit.kind, file(unit)) {
            (Kind::Image { image, .. }, Some(file)) => {
                images.insert(file, image.clone());
            }
            (Kind::Network(network), _) => {
                networks.insert(unit.name.clone(), network.name.clone());
            }
            (Kind::Volume { name }, Some(_)) => {
                volumes.insert(unit.name.clone(), name.clone());
            }
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for unit in units {
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
            if let Some(stem) = service.strip_suffix("-network.service") {
                let called = format!("systemd-{stem}");
                let joins = options.networks.iter_mut().filter(|j| j.network == called);
                match networks.get(service) {
                    Some(name) => joins.for_each(|join| join.network.clone_from(name)),
                    None => missing.push((unit.path.clone(), format!("{stem}.network"))),
                }
            }
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
    missing
}
