//! Devices: the nodes and links of a container's `/dev`.
//!
//! A node gives no right by itself: what may be opened is said by the cgroup's device rules.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::failure::{Doing, Failure};
use super::mount_options::Attributes;
use super::operation::Operation;
use super::rootfs;

/// Nodes that every container has: path, major, minor; all are character devices, mode 0666.
const NODES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has: link and target.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
];

/// A device of the host, as the spec has it, with its own numbers, mode and owner.
///
/// # Errors
/// When there is no such node or it is no device.
pub fn of_host(host: &Path, container: &Path) -> std::io::Result<LinuxDevice> {
    let stat = rustix::fs::stat(host)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => LinuxDeviceType::C,
        FileType::BlockDevice => LinuxDeviceType::B,
        _ => return Err(std::io::Error::other("is not a device node")),
    };
    let mut device = LinuxDevice::default();
    device
        .set_path(container.to_owned())
        .set_typ(kind)
        .set_major(rustix::fs::major(stat.st_rdev).into())
        .set_minor(rustix::fs::minor(stat.st_rdev).into())
        .set_file_mode(Some(stat.st_mode & 0o777))
        .set_uid(Some(stat.st_uid))
        .set_gid(Some(stat.st_gid));
    Ok(device)
}

/// The nodes and links of `/dev`: the default ones and the spec's. `bound`: no node can be made here,
/// so those of the host are bound.
///
/// # Errors
/// The device that has no type that can be made.
pub(crate) fn operations(devices: &[LinuxDevice], bound: bool) -> Result<Vec<Operation>, String> {
    let own = |path: &str| {
        devices
            .iter()
            .any(|device| device.path() == Path::new(path))
    };
    let mut operations: Vec<Operation> = NODES
        .iter()
        .filter(|(path, ..)| !own(path))
        .map(|(path, major, minor)| Operation::Mknod {
            path: (*path).into(),
            kind: 'c',
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in devices {
        operations.push(node(device)?);
    }
    if bound {
        operations = operations.into_iter().map(bind_of_host).collect();
    }
    operations.extend(LINKS.iter().map(|(link, target)| Operation::Symlink {
        target: (*target).into(),
        link: (*link).into(),
    }));
    Ok(operations)
}

fn bind_of_host(operation: Operation) -> Operation {
    match operation {
        Operation::Mknod { path, kind, .. } if kind != 'p' => Operation::Bind {
            source: path.clone(),
            target: path,
            recursive: false,
            attributes: Attributes::default(),
        },
        other => other,
    }
}

fn node(device: &LinuxDevice) -> Result<Operation, String> {
    let path = device.path().display().to_string();
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::P => 'p',
        LinuxDeviceType::A => return Err(format!("linux.devices: {path}: type a is no node")),
    };
    let number = |value: i64, what| {
        u32::try_from(value)
            .map_err(|_| format!("linux.devices: {path}: {what} {value} is negative"))
    };
    Ok(Operation::Mknod {
        kind,
        major: number(device.major(), "major")?,
        minor: number(device.minor(), "minor")?,
        mode: device.file_mode().unwrap_or(0o666),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        path,
    })
}

/// What mknod(2) and chown(2) are given, as in [`Operation::Mknod`].
pub(crate) struct Node<'a> {
    pub path: &'a str,
    pub kind: char,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Makes the node inside `root`; the umask must be 0.
pub(crate) fn mknod(root: BorrowedFd<'_>, node: &Node<'_>) -> Result<(), Failure> {
    let (parent, name) = rootfs::make_parent(root, node.path)?;
    let kind = match node.kind {
        'b' => FileType::BlockDevice,
        'p' => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let mode = Mode::from_raw_mode(node.mode);
    let device = rustix::fs::makedev(node.major, node.minor);
    match rustix::fs::mknodat(&parent, &name, kind, mode, device) {
        // The image's own will do when it is the same.
        Err(Errno::EXIST) if is_there(parent.as_fd(), &name, kind, device) => return Ok(()),
        made => made.doing("mknod", node.path)?,
    }
    if (node.uid, node.gid) != (0, 0) {
        let uid = Some(rustix::process::Uid::from_raw(node.uid));
        let gid = Some(rustix::process::Gid::from_raw(node.gid));
        rustix::fs::chownat(&parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .doing("chown", node.path)?;
    }
    Ok(())
}

fn is_there(parent: BorrowedFd<'_>, name: &Path, kind: FileType, device: u64) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| {
        let same = kind == FileType::Fifo || stat.st_rdev == device;
        FileType::from_raw_mode(stat.st_mode) == kind && same
    })
}

/// Makes the link inside `root`; what is already there stays.
pub(crate) fn symlink(root: BorrowedFd<'_>, target: &str, link: &str) -> Result<(), Failure> {
    let (parent, name) = rootfs::make_parent(root, link)?;
    match rustix::fs::symlinkat(target, parent.as_fd(), &name) {
        Err(Errno::EXIST) => Ok(()),
        done => done.doing("symlink", link),
    }
}
