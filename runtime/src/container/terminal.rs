//! A pseudo terminal of the container's own devpts, as standard streams and `/dev/console`.
//!
//! The slave is never reached by a path: it comes from the master, and its mount by descriptor
//! (CVE-2025-52565).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::failure::{Doing, Failure};
use super::mutant::{Defence, lacks};
use super::{mounts, rootfs};

/// statfs(2) `f_type` of devpts.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Master and slave of a new terminal.
pub(crate) struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a terminal in `root`'s `/dev/pts`, which must be a devpts.
pub(crate) fn open(root: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<Terminal, Failure> {
    let path = "/dev/pts/ptmx";
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = rootfs::open_in_root(root, path, flags).doing("openat2", path)?;
    let statfs = rustix::fs::fstatfs(&master).doing("fstatfs", path)?;
    let stat = rustix::fs::fstat(&master).doing("fstat", path)?;
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let is_ptmx = is_device && stat.st_rdev == rustix::fs::makedev(5, 2);
    if !is_ptmx || statfs.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Failure::refused(
            "terminal",
            path,
            "is not the ptmx of a devpts",
        ));
    }
    rustix::pty::unlockpt(&master).doing("unlockpt", path)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).doing("ioctl tiocgptpeer", path)?;
    if rows != 0 && columns != 0 {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size).doing("ioctl tiocswinsz", path)?;
    }
    Ok(Terminal { master, slave })
}

/// Mounts the terminal's slave over `/dev/console` inside `root`.
pub(crate) fn mount_console(root: BorrowedFd<'_>, terminal: &Terminal) -> Result<(), Failure> {
    let path = "/dev/console";
    let target = rootfs::make_target(root, path, rootfs::Kind::File)?;
    let mount = if lacks(Defence::Console) {
        let by_name = rootfs::open_in_root(root, "/dev/pts/0", OFlags::PATH);
        mounts::clone_of(by_name.doing("openat2", path)?.as_fd(), false, path)?
    } else {
        mounts::clone_of(terminal.slave.as_fd(), false, path)?
    };
    mounts::attach(mount.as_fd(), target.as_fd(), path)
}

/// Makes the slave the standard streams.
pub(crate) fn become_streams(terminal: &Terminal) -> Result<(), Failure> {
    for standard in 0..3 {
        sys::child::as_standard(terminal.slave.as_fd(), standard).doing("dup2", "terminal")?;
    }
    Ok(())
}

/// Makes standard input the controlling terminal of this session.
pub(crate) fn control() -> Result<(), Failure> {
    let stdin = std::io::stdin();
    sys::child::set_controlling_terminal(stdin.as_fd()).doing("ioctl tiocsctty", "")
}

/// Gives the terminal to the user of the process.
pub(crate) fn give_to(terminal: &Terminal, uid: u32) -> Result<(), Failure> {
    let uid = rustix::process::Uid::from_raw(uid);
    rustix::fs::fchown(&terminal.slave, Some(uid), None).doing("fchown", "terminal")
}
