//! The part of a plan that mounts: new file systems, binds of the host's, remounts.
//!
//! Pure. What a user namespace may not mount is bound from the host instead, as far as it shows no
//! more than a mount of the container's own would.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping, Mount, Spec};

use super::super::idmap::Mapping;
use super::super::mount_options::{Options, Propagation};
use super::super::namespaces::Namespace;
use super::super::operation::Operation;
use super::super::refusals::{absolute, has_namespace};
use super::super::rootfs;
use super::{Around, IdMaps, Plan, Tree};

/// What decides how a mount of the spec is made.
pub(super) struct Place {
    /// The container's mounts are made in a user namespace of its own, or of the runtime's.
    pub(super) foreign: bool,
    /// It has a user namespace of its own: host paths are opened before it is entered.
    pub(super) own_user: bool,
    /// And the parent may open them.
    pub(super) prepared: bool,
    /// It has a network namespace of its own, so sysfs can be mounted.
    own_net: bool,
    /// It has a pid namespace of its own, so procfs can be mounted.
    own_pid: bool,
    /// It has a cgroup namespace of its own, so a cgroup mount shows its own cgroup only.
    own_cgroup: bool,
    attended: bool,
    clones_mounts: bool,
    cgroup: Option<String>,
    label: Option<String>,
    ids: IdMaps,
}

impl Place {
    pub(super) fn of(spec: &Spec, around: &Around) -> Self {
        let linux = spec.linux().as_ref();
        let has = |kind| linux.is_some_and(|linux| has_namespace(linux, kind));
        let joined = |linux: &Linux| {
            let mut all = linux.namespaces().iter().flatten();
            all.any(|one| Namespace::from_spec(one.typ()) == Namespace::User)
        };
        let own_user = linux.is_some_and(joined);
        let cgroup = around.cgroup.as_deref().and_then(Path::to_str);
        let maps = |maps: Option<&Vec<LinuxIdMapping>>| {
            let maps = maps.into_iter().flatten();
            maps.map(Mapping::from_spec).collect()
        };
        Self {
            foreign: own_user || around.unprivileged,
            own_user,
            prepared: own_user && around.clones_mounts,
            own_net: has(Namespace::Net),
            own_pid: has(Namespace::Pid),
            own_cgroup: has(Namespace::Cgroup),
            attended: around.attended,
            clones_mounts: around.clones_mounts,
            cgroup: cgroup.map(str::to_owned),
            label: linux.and_then(|linux| linux.mount_label().clone()),
            ids: IdMaps {
                uids: maps(linux.and_then(|linux| linux.uid_mappings().as_ref())),
                gids: maps(linux.and_then(|linux| linux.gid_mappings().as_ref())),
                recursive: false,
            },
        }
    }
}

impl Place {
    /// The host's ids of the container's; those that are not mapped stay as they are.
    pub(super) fn host_ids(&self, uid: u32, gid: u32) -> (u32, u32) {
        let mapped = |maps: &[Mapping], id: u32| {
            let inside = |one: &&Mapping| id >= one.inside && id - one.inside < one.size;
            let map = maps.iter().find(inside);
            map.map_or(id, |map| map.outside + (id - map.inside))
        };
        (mapped(&self.ids.uids, uid), mapped(&self.ids.gids, gid))
    }
}

impl Plan {
    pub(super) fn add_mount(&mut self, mount: &Mount, place: &Place) -> Result<(), String> {
        let target = absolute(mount.destination(), "mounts.destination")?;
        if rootfs::normalized(&target).as_os_str().is_empty() {
            return Err(format!("mounts: {target}: is the root itself"));
        }
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let fstype = mount.typ().as_deref().unwrap_or("");
        if options.remount {
            let attributes = options.attributes;
            self.push(Operation::Remount { target, attributes });
            return Ok(());
        }
        if fstype == "bind" || options.bind.is_some() {
            return self.add_bind(mount, target, options, place);
        }
        if id_maps(mount, &options, place)?.is_some() {
            return Err(format!(
                "mounts: {target}: id mappings are for binds, found the type {fstype:?}"
            ));
        }
        match (fstype, &place.cgroup) {
            ("", _) => Err(format!(
                "mounts: {target}: a type or the option bind is needed"
            )),
            ("proc", _) if place.foreign && !place.own_pid => {
                self.add_bound("/proc", target, options, place)
            }
            ("sysfs", _) if place.foreign && !place.own_net => {
                self.add_bound("/sys", target, options, place)
            }
            ("cgroup" | "cgroup2", Some(directory)) if !place.own_cgroup => {
                let directory = directory.clone();
                self.add_bound(&directory, target, options, place)
            }
            ("cgroup", _) => self.add_new("cgroup2", mount, target, options, place),
            (other, _) => self.add_new(other, mount, target, options, place),
        }
    }

    fn add_new(
        &mut self,
        fstype: &str,
        mount: &Mount,
        target: String,
        mut options: Options,
        place: &Place,
    ) -> Result<(), String> {
        let source = match mount.source().as_deref() {
            None => fstype.to_owned(),
            Some(source) => source
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("mounts: {target}: the source is not UTF-8"))?,
        };
        if let Some(label) = &place.label
            && !matches!(fstype, "proc" | "sysfs" | "cgroup2")
            && !label.is_empty()
        {
            options.data.push(format!("context={label}"));
        }
        self.push(Operation::Mount {
            fstype: fstype.into(),
            source,
            target,
            attributes: options.attributes,
            data: options.data,
            copy_up: options.copy_up,
        });
        Ok(())
    }

    /// What the container may not mount, taken from the host with all below it.
    fn add_bound(
        &mut self,
        source: &str,
        target: String,
        options: Options,
        place: &Place,
    ) -> Result<(), String> {
        let mut bound = Mount::default();
        bound.set_source(Some(source.into()));
        let mut attributes = options.attributes;
        attributes.set_recursive |= attributes.set;
        let options = Options {
            bind: Some(true),
            attributes,
            ..Options::default()
        };
        self.add_bind(&bound, target, options, place)
    }

    fn add_bind(
        &mut self,
        mount: &Mount,
        target: String,
        mut options: Options,
        place: &Place,
    ) -> Result<(), String> {
        let source = mount.source().as_deref();
        let source = source.ok_or_else(|| format!("mounts: {target}: a bind needs a source"))?;
        let source = absolute(source, "mounts.source")?;
        if let Some(unknown) = options.data.first() {
            return Err(format!(
                "mounts: {target}: option {unknown:?} is unknown for a bind"
            ));
        }
        if options.attributes.propagation.is_none() {
            options.attributes.propagation = Some(Propagation::Private);
            options.attributes.propagation_recursive = true;
        }
        let ids = id_maps(mount, &options, place)?;
        let (recursive, attributes) = (options.bind.unwrap_or(true), options.attributes);
        if ids.is_none() && !place.prepared {
            self.push(Operation::Bind {
                source,
                target,
                recursive,
                attributes,
            });
            return Ok(());
        }
        if !place.attended || !place.clones_mounts {
            return Err(format!(
                "mounts: {target}: id mappings are not supported yet"
            ));
        }
        self.push(Operation::Attach {
            tree: self.trees.len(),
            source: source.clone(),
            target,
        });
        self.trees.push(Tree {
            source,
            recursive,
            attributes,
            ids,
            node: None,
        });
        Ok(())
    }
}

/// Whether it is a clone of something that the host has.
pub(super) fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    mount.typ().as_deref() == Some("bind") || Options::parse(options).bind.is_some()
}

/// The id maps of one mount: its own, or with `idmap` alone, the container's.
fn id_maps(mount: &Mount, options: &Options, place: &Place) -> Result<Option<IdMaps>, String> {
    let maps = |maps: &Option<Vec<LinuxIdMapping>>| -> Vec<Mapping> {
        maps.iter().flatten().map(Mapping::from_spec).collect()
    };
    let (uids, gids) = (maps(mount.uid_mappings()), maps(mount.gid_mappings()));
    let target = mount.destination().display();
    if uids.is_empty() != gids.is_empty() {
        return Err(format!(
            "mounts: {target}: uidMappings and gidMappings go together"
        ));
    }
    let recursive = options.ids == Some(true);
    if uids.is_empty() && options.ids.is_none() {
        return Ok(None);
    }
    let given = if uids.is_empty() {
        place.ids.clone()
    } else {
        IdMaps {
            uids,
            gids,
            recursive,
        }
    };
    if given.uids.is_empty() {
        return Err(format!(
            "mounts: {target}: idmap needs mappings, of the mount or of linux"
        ));
    }
    Ok(Some(IdMaps { recursive, ..given }))
}
