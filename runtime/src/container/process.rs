//! What a process is before its program runs: limits, names, kernel parameters, directory, program.
//!
//! procfs is written through a mount of its own that no path of the container leads to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Resource, Rlimit};

use super::failure::{Doing, Failure};
use super::mutant::{Defence, lacks};
use super::{mounts, rootfs};

/// A procfs of this pid namespace, mounted nowhere: nothing can stand in its way (CVE-2025-52881).
pub(crate) fn private_procfs() -> Result<OwnedFd, Failure> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mounts::new_filesystem("proc", "proc", &[], flags)
}

/// Writes `value` to the file `path` below `procfs`, which must be procfs itself.
pub(crate) fn write_procfs(procfs: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Failure> {
    let shown = format!("/proc/{path}");
    if lacks(Defence::Procfs) {
        return std::fs::write(&shown, value).doing("write", &shown);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat2(procfs, path, flags, Mode::empty(), resolve)
        .doing("openat2", &shown)?;
    if !rootfs::is_procfs(file.as_fd(), &shown)? {
        return Err(Failure::refused("write", &shown, "is not on procfs"));
    }
    let written = rustix::io::write(&file, value.as_bytes()).doing("write", &shown)?;
    if written != value.len() {
        return Err(Failure::refused("write", &shown, "the value was cut"));
    }
    Ok(())
}

/// The label that the next exec gets, written where the security module reads it.
pub(crate) fn set_label(procfs: BorrowedFd<'_>, module: &str, label: &str) -> Result<(), Failure> {
    if module == "selinux" {
        return write_procfs(procfs, "thread-self/attr/exec", label);
    }
    let value = format!("exec {label}");
    // Before 5.8 the modules shared one file.
    match write_procfs(procfs, "thread-self/attr/apparmor/exec", &value) {
        Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => {
            write_procfs(procfs, "thread-self/attr/exec", &value)
        }
        done => done,
    }
}

/// The file below `/proc/sys` of a sysctl's key, which may be written with dots or slashes.
pub(crate) fn sysctl_path(key: &str) -> String {
    if key.contains('/') {
        format!("sys/{key}")
    } else {
        format!("sys/{}", key.replace('.', "/"))
    }
}

/// The limits by name.
const RESOURCES: [(&str, Resource); 16] = [
    ("AS", Resource::As),
    ("CORE", Resource::Core),
    ("CPU", Resource::Cpu),
    ("DATA", Resource::Data),
    ("FSIZE", Resource::Fsize),
    ("LOCKS", Resource::Locks),
    ("MEMLOCK", Resource::Memlock),
    ("MSGQUEUE", Resource::Msgqueue),
    ("NICE", Resource::Nice),
    ("NOFILE", Resource::Nofile),
    ("NPROC", Resource::Nproc),
    ("RSS", Resource::Rss),
    ("RTPRIO", Resource::Rtprio),
    ("RTTIME", Resource::Rttime),
    ("SIGPENDING", Resource::Sigpending),
    ("STACK", Resource::Stack),
];

/// The limit's name as the spec has it (`RLIMIT_NOFILE`), from any of its spellings.
pub(crate) fn rlimit_name(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
    let known = RESOURCES.iter().any(|(known, _)| *known == bare);
    known.then(|| format!("RLIMIT_{bare}"))
}

/// setrlimit(2).
pub(crate) fn set_limit(name: &str, soft: u64, hard: u64) -> Result<(), Failure> {
    let bare = name.strip_prefix("RLIMIT_").unwrap_or(name);
    let resource = RESOURCES.iter().find(|(known, _)| *known == bare);
    let Some((_, resource)) = resource else {
        return Err(Failure::refused("setrlimit", name, "unknown limit"));
    };
    let limited = |value| Some(value).filter(|value| *value != u64::MAX);
    let limit = Rlimit {
        current: limited(soft),
        maximum: limited(hard),
    };
    rustix::process::setrlimit(*resource, limit).doing("setrlimit", name)
}

/// Changes to `path`, which is resolved inside the root, and makes sure that it is below `/`
/// (CVE-2024-21626).
pub(crate) fn change_directory(path: &str) -> Result<(), Failure> {
    if lacks(Defence::Descriptors) {
        return rustix::process::chdir(path).doing("chdir", path);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing("open", "/")?;
    let directory = match rootfs::open_in_root(root.as_fd(), path, flags) {
        // Searchable, but not readable, by this user.
        Err(Errno::ACCESS) => rootfs::open_in_root(
            root.as_fd(),
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        ),
        done => done,
    }
    .doing("chdir", path)?;
    rustix::process::fchdir(&directory).doing("chdir", path)?;
    let now = rustix::process::getcwd(Vec::new()).doing("getcwd", path)?;
    if !now.as_bytes().starts_with(b"/") {
        return Err(Failure::refused(
            "chdir",
            path,
            "is outside the container's root",
        ));
    }
    Ok(())
}

/// The program that `name` means: itself with a slash, else the first in `PATH` that may be run.
pub(crate) fn find_program(name: &str, env: &[String]) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::refused(
            "execve",
            name,
            "the program's name is empty",
        ));
    }
    if name.contains('/') {
        executable(name).doing("execve", name)?;
        return Ok(name.into());
    }
    let path = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let path = path.unwrap_or(super::defaults::PATH);
    let mut error = Errno::NOENT;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => error = Errno::ACCESS,
            Err(_) => {}
        }
    }
    let reason = if error == Errno::NOENT {
        format!("not found in PATH={path}")
    } else {
        format!("found in PATH={path}, but it may not be run")
    };
    Err(Failure {
        errno: error.raw_os_error(),
        ..Failure::refused("execve", name, reason)
    })
}

fn executable(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::ACCESS),
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Reads a small file of the container's root; a missing one is empty.
pub(crate) fn read_in_root(path: &str) -> Result<String, Failure> {
    use std::io::Read;
    const MAX: u64 = 8 << 20;
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing("open", "/")?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rootfs::open_in_root(root.as_fd(), path, flags) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        found => found.doing("openat2", path)?,
    };
    let stat = rustix::fs::fstat(&file).doing("fstat", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Failure::refused("read", path, "is no regular file"));
    }
    let mut bytes = Vec::new();
    let mut file = std::fs::File::from(file).take(MAX);
    file.read_to_end(&mut bytes).doing("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives the standard streams to the user, so that `/dev/stderr` can be opened again by it.
pub(crate) fn own_standard_streams(uid: u32) {
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        let Ok(stat) = rustix::fs::fstat(stream) else {
            continue;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Fifo | FileType::Socket) && stat.st_uid != uid {
            // A stream that cannot be given away works all the same, only not by its name.
            let _ = rustix::fs::fchown(stream, Some(rustix::process::Uid::from_raw(uid)), None);
        }
    }
}

/// Makes the working directory inside `root` when it is missing.
pub(crate) fn make_directory(root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    if Path::new(path) == Path::new("/") || lacks(Defence::Descriptors) {
        return Ok(());
    }
    rootfs::make_target(root, path, rootfs::Kind::Directory).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_path_that_was_searched() {
        let env = ["PATH=/nowhere:/bin".to_owned()];
        let failure = find_program("no-such-program", &env).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "execve no-such-program: not found in PATH=/nowhere:/bin"
        );
        assert_eq!(find_program("sh", &env).unwrap(), "/bin/sh");
    }

    #[test]
    fn a_directory_is_no_program() {
        let failure = find_program("/bin/", &[]).unwrap_err();
        assert!(failure.to_string().contains("directory"), "{failure}");
    }

    #[test]
    fn keys_with_dots_in_a_name_are_written_with_slashes() {
        assert_eq!(
            sysctl_path("net.ipv4.ip_forward"),
            "sys/net/ipv4/ip_forward"
        );
        assert_eq!(
            sysctl_path("net/ipv4/conf/eth0.1/x"),
            "sys/net/ipv4/conf/eth0.1/x"
        );
    }

    #[test]
    fn limits_are_known_by_both_spellings() {
        assert_eq!(rlimit_name("nofile").as_deref(), Some("RLIMIT_NOFILE"));
        assert_eq!(rlimit_name("RLIMIT_CORE").as_deref(), Some("RLIMIT_CORE"));
        assert_eq!(rlimit_name("nofiles"), None);
    }
}
