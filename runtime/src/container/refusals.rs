//! What a plan refuses: fields that are not supported, paths that are not absolute, kernel parameters
//! of the host.
//!
//! Each refusal names the field and what would have been right.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping, Spec};

use super::idmap::{self, Mapping};
use super::namespaces::Namespace;

/// Fields that change what a container may do or see, and that are not implemented; those that
/// somebody must attend to are refused when nobody does.
pub(super) fn refuse_unsupported(spec: &Spec, attended: bool) -> Result<(), String> {
    let linux = spec.linux().as_ref();
    let some = |field: Option<bool>| field.unwrap_or(false);
    let refused = [
        (
            "linux.intelRdt",
            some(linux.map(|l| l.intel_rdt().is_some())),
        ),
        (
            "linux.memoryPolicy",
            some(linux.map(|l| l.memory_policy().is_some())),
        ),
        (
            "linux.netDevices",
            some(linux.map(|l| l.net_devices().iter().flatten().count() > 0)),
        ),
        ("hooks", !attended && spec.hooks().is_some()),
        (
            "linux.uidMappings",
            !attended && some(linux.map(|l| l.uid_mappings().iter().flatten().count() > 0)),
        ),
        (
            "linux.gidMappings",
            !attended && some(linux.map(|l| l.gid_mappings().iter().flatten().count() > 0)),
        ),
    ];
    if let Some((field, _)) = refused.iter().find(|(_, given)| *given) {
        return Err(format!("{field} is not supported yet"));
    }
    refuse_hooks_without_time(spec)?;
    let Some(linux) = linux else {
        return Ok(());
    };
    refuse_twice(linux)?;
    refuse_swap_alone(linux)?;
    check_maps(linux)
}

/// "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error."
fn refuse_twice(linux: &Linux) -> Result<(), String> {
    let mut seen = Vec::new();
    for namespace in linux.namespaces().iter().flatten() {
        let kind = Namespace::from_spec(namespace.typ());
        if seen.contains(&kind) {
            return Err(format!("linux.namespaces: {kind} is there twice"));
        }
        seen.push(kind);
    }
    Ok(())
}

/// The specification counts memory and swap together: alone, or below the limit, it means nothing.
fn refuse_swap_alone(linux: &Linux) -> Result<(), String> {
    let memory = linux
        .resources()
        .as_ref()
        .and_then(|all| all.memory().as_ref());
    let (swap, limit) = memory.map_or((None, None), |memory| (memory.swap(), memory.limit()));
    let Some(swap) = swap.filter(|swap| *swap > 0) else {
        return Ok(());
    };
    match limit.unwrap_or(0) {
        0 => {
            Err("linux.resources.memory.swap: it counts memory, too, and needs memory.limit".into())
        }
        limit if swap < limit => Err(format!(
            "linux.resources.memory.swap: expected memory.limit {limit} or more, found {swap}"
        )),
        _ => Ok(()),
    }
}

/// "If set, timeout MUST be greater than zero."
fn refuse_hooks_without_time(spec: &Spec) -> Result<(), String> {
    let Some(hooks) = spec.hooks() else {
        return Ok(());
    };
    #[allow(deprecated)] // and still used
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ];
    let mut all = lists.into_iter().flatten().flatten();
    match all.find(|hook| hook.timeout().is_some_and(|seconds| seconds <= 0)) {
        None => Ok(()),
        Some(hook) => Err(format!(
            "hooks: {}: expected a timeout of more than 0 s",
            hook.path().display()
        )),
    }
}

/// Id maps belong to a user namespace, which needs both.
fn check_maps(linux: &Linux) -> Result<(), String> {
    let list = |maps: &Option<Vec<LinuxIdMapping>>| -> Vec<Mapping> {
        maps.iter().flatten().map(Mapping::from_spec).collect()
    };
    let (uids, gids) = (list(linux.uid_mappings()), list(linux.gid_mappings()));
    idmap::check(&uids, "linux.uidMappings")?;
    idmap::check(&gids, "linux.gidMappings")?;
    if has_namespace(linux, Namespace::User) && (uids.is_empty() || gids.is_empty()) {
        return Err("linux.namespaces: a user namespace needs uidMappings and gidMappings".into());
    }
    Ok(())
}

/// A path that is absolute and can be printed.
pub(super) fn absolute(path: &Path, field: &str) -> Result<String, String> {
    let text = path
        .to_str()
        .ok_or_else(|| format!("{field}: {} is not UTF-8", path.display()))?;
    if !path.is_absolute() {
        return Err(format!("{field}: {text:?} is not an absolute path"));
    }
    if text.contains('\0') {
        return Err(format!("{field}: {text:?} holds a NUL"));
    }
    Ok(text.into())
}

/// Whether the container gets a new namespace of this kind; one that it joins is another's.
pub(super) fn has_namespace(linux: &Linux, kind: Namespace) -> bool {
    let all = linux.namespaces().iter().flatten();
    let none = |path: &Option<std::path::PathBuf>| {
        path.as_ref().is_none_or(|path| path.as_os_str().is_empty())
    };
    all.filter(|namespace| none(namespace.path()))
        .any(|namespace| Namespace::from_spec(namespace.typ()) == kind)
}

/// A kernel parameter must belong to a namespace of the container, or the whole host is changed.
pub(super) fn allow_sysctl(key: &str, linux: &Linux) -> Result<(), String> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue",
    ];
    let dotted = key.replace('/', ".");
    let namespace = if dotted.starts_with("net.") {
        Namespace::Net
    } else if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        Namespace::Ipc
    } else if dotted == "kernel.hostname" {
        return Err("linux.sysctl: kernel.hostname is the field hostname's".into());
    } else if dotted == "kernel.domainname" {
        Namespace::Uts
    } else {
        return Err(format!(
            "linux.sysctl: {key} belongs to no namespace of a container"
        ));
    };
    if dotted
        .split('.')
        .any(|part| part.is_empty() || part == "..")
    {
        return Err(format!("linux.sysctl: {key:?} is no key"));
    }
    if !has_namespace(linux, namespace) {
        return Err(format!(
            "linux.sysctl: {key} needs a {namespace} namespace of its own"
        ));
    }
    Ok(())
}
