//! The runtime's own program, out of reach of its containers (CVE-2019-5736).
//!
//! A container whose program is `/proc/self/exe` runs this one, and could then write to its file
//! through `/proc/PID/exe`. So what makes containers runs from a read-only mount that is attached
//! nowhere, and that nobody can make writable again once the exec has closed its descriptor.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::process::DumpableBehavior;
use sys::mount_attr::{MountAttr, mount_setattr};

use super::error::Error;
use crate::container::mutant::{Defence, lacks};

/// Says to the program that is executed again, by its process id, that it is.
const MARK: &str = "_SKEG_OCI_SEALED";
const EXE: &str = "/proc/self/exe";

/// Makes sure that this process runs from a file that cannot be written, executing itself again if
/// it must, and that its descriptors and memory are nobody's to look at.
pub(super) fn protect() -> Result<(), Error> {
    if !is_sealed() && !lacks(Defence::Seal) {
        let file = read_only_mount().or_else(|_| memory_copy());
        execute(&file.map_err(|error| Error::io("seal", error))?)?;
    }
    // With id maps to be written, the kernel takes it away again at the first change of user.
    if !super::maps::is_rootless() {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| Error::io("prctl", error))?;
    }
    Ok(())
}

/// Asked of the kernel, not of the mark: a file that cannot be opened for writing as things are.
fn is_sealed() -> bool {
    let own = std::process::id().to_string();
    let marked = std::env::var_os(MARK).is_some_and(|pid| pid == own.as_str());
    let Ok(file) = rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return marked;
    };
    let seals = rustix::fs::fcntl_get_seals(&file);
    let flags = rustix::fs::fstatvfs(&file).map(|stat| stat.f_flag);
    let read_only = flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    read_only || seals.is_ok_and(|seals| seals.contains(SealFlags::WRITE)) || marked
}

fn read_only_mount() -> Result<OwnedFd, std::io::Error> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, EXE, flags)?;
    let attr = MountAttr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
        propagation: crate::container::mount_options::Propagation::Private.bits(),
        ..MountAttr::default()
    };
    mount_setattr(mount.as_fd(), attr, false)?;
    Ok(mount)
}

/// For users who cannot mount.
fn memory_copy() -> Result<OwnedFd, std::io::Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = std::fs::File::from(rustix::fs::memfd_create("skeg-oci", flags)?);
    std::io::copy(&mut std::fs::File::open(EXE)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

fn execute(file: &OwnedFd) -> Result<(), Error> {
    let text = |text: std::ffi::OsString| {
        CString::new(text.into_encoded_bytes()).map_err(|error| Error::io("seal", error))
    };
    let args: Vec<CString> = std::env::args_os().map(text).collect::<Result<_, _>>()?;
    let mut env: Vec<CString> = std::env::vars_os()
        .filter(|(key, _)| key != MARK)
        .map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            text(key)
        })
        .collect::<Result<_, _>>()?;
    env.push(text(format!("{MARK}={}", std::process::id()).into())?);
    let flags = nix::fcntl::AtFlags::from_bits_retain(AtFlags::EMPTY_PATH.bits() as i32);
    match nix::unistd::execveat(file, c"", &args, &env, flags) {
        Ok(never) => match never {},
        Err(error) => Err(Error::io("execveat", std::io::Error::from(error))),
    }
}
