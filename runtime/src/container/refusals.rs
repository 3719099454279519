//! What a plan refuses: fields that are not supported, paths that are not absolute, kernel parameters
//! of the host.
//!
//! Each refusal names the field and what would have been right.

use std::path::Path;

use oci_spec::runtime::{Linux, Spec};

use super::namespaces::Namespace;

/// Fields that change what a container may do or see, and that are not implemented.
pub(super) fn refuse_unsupported(spec: &Spec) -> Result<(), String> {
    let linux = spec.linux().as_ref();
    let process = spec.process().as_ref();
    let some = |field: Option<bool>| field.unwrap_or(false);
    let refused = [
        ("hooks", spec.hooks().is_some()),
        (
            "linux.uidMappings",
            some(linux.map(|l| l.uid_mappings().iter().flatten().count() > 0)),
        ),
        (
            "linux.gidMappings",
            some(linux.map(|l| l.gid_mappings().iter().flatten().count() > 0)),
        ),
        (
            "linux.timeOffsets",
            some(linux.map(|l| l.time_offsets().iter().flatten().count() > 0)),
        ),
        (
            "linux.personality",
            some(linux.map(|l| l.personality().is_some())),
        ),
        (
            "linux.intelRdt",
            some(linux.map(|l| l.intel_rdt().is_some())),
        ),
        (
            "linux.mountLabel",
            some(linux.map(|l| is_set(l.mount_label().as_deref()))),
        ),
        (
            "process.apparmorProfile",
            some(process.map(|p| is_set(p.apparmor_profile().as_deref()))),
        ),
        (
            "process.selinuxLabel",
            some(process.map(|p| is_set(p.selinux_label().as_deref()))),
        ),
        (
            "process.scheduler",
            some(process.map(|p| p.scheduler().is_some())),
        ),
        (
            "process.ioPriority",
            some(process.map(|p| p.io_priority().is_some())),
        ),
    ];
    match refused.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(format!("{field} is not supported yet")),
        None => Ok(()),
    }
}

fn is_set(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
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
    all.filter(|namespace| namespace.path().is_none())
        .any(|namespace| Namespace::from_spec(namespace.typ()) == Ok(kind))
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
    } else if matches!(dotted.as_str(), "kernel.hostname" | "kernel.domainname") {
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
