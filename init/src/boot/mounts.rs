//! The early mounts: the kernel's file systems and the tmpfs ones.
//!
//! A mount that fails is reported by name; the boot goes on with what there is.

use rustix::mount::{MountFlags, mount};
use std::ffi::CStr;
use std::fs;
use std::path::Path;

struct Mount {
    kind: &'static CStr,
    target: &'static str,
    flags: MountFlags,
    data: &'static CStr,
    /// Only worth having where the kernel offers it.
    optional: bool,
}

const fn row(
    kind: &'static CStr,
    target: &'static str,
    flags: MountFlags,
    data: &'static CStr,
    optional: bool,
) -> Mount {
    Mount {
        kind,
        target,
        flags,
        data,
        optional,
    }
}

const SUID: MountFlags = MountFlags::NOSUID;
const DEV: MountFlags = SUID.union(MountFlags::NODEV);
const EXEC: MountFlags = DEV.union(MountFlags::NOEXEC);

const EARLY: [Mount; 11] = [
    row(c"proc", "/proc", EXEC, c"", false),
    row(c"sysfs", "/sys", EXEC, c"", false),
    row(c"devtmpfs", "/dev", SUID, c"mode=0755", false),
    row(
        c"devpts",
        "/dev/pts",
        SUID.union(MountFlags::NOEXEC),
        c"gid=5,mode=0620,ptmxmode=0666",
        false,
    ),
    row(c"tmpfs", "/dev/shm", DEV, c"mode=1777,size=25%", false),
    row(c"mqueue", "/dev/mqueue", EXEC, c"", true),
    row(c"tmpfs", "/run", DEV, c"mode=0755,size=20%", false),
    row(c"tmpfs", "/tmp", DEV, c"mode=1777,size=25%", false),
    row(
        c"cgroup2",
        "/sys/fs/cgroup",
        EXEC,
        c"nsdelegate,memory_recursiveprot",
        false,
    ),
    row(c"securityfs", "/sys/kernel/security", EXEC, c"", true),
    row(c"bpf", "/sys/fs/bpf", EXEC, c"mode=0700", true),
];

/// Mounts everything of the table; returns what failed, a sentence each.
pub fn early() -> Vec<String> {
    EARLY.iter().filter_map(|entry| one(entry).err()).collect()
}

/// Mounts the firmware's variables, which need a module, where the firmware is UEFI.
pub fn firmware() {
    const EFI: Mount = row(c"efivarfs", "/sys/firmware/efi/efivars", EXEC, c"", true);
    let _ = one(&EFI);
}

fn one(entry: &Mount) -> Result<(), String> {
    if !Path::new(entry.target).is_dir()
        && fs::create_dir_all(entry.target).is_err()
        && entry.optional
    {
        return Ok(());
    }
    match mount(
        entry.kind,
        entry.target,
        entry.kind,
        entry.flags,
        entry.data,
    ) {
        Err(e) if !entry.optional => Err(format!("mount {}: {e}", entry.target)),
        _ => Ok(()),
    }
}
