//! System calls that a container must not be able to make, for tests that try to.
//!
//! Nothing is given to them that the kernel could read or write. No program that ships uses it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The calls and their names; with nothing but zeroes each of them does no harm even to root.
const CALLS: [(&str, libc::c_long); 27] = [
    ("acct", libc::SYS_acct),
    ("add_key", libc::SYS_add_key),
    ("bpf", libc::SYS_bpf),
    ("delete_module", libc::SYS_delete_module),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("finit_module", libc::SYS_finit_module),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("init_module", libc::SYS_init_module),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("kexec_load", libc::SYS_kexec_load),
    ("keyctl", libc::SYS_keyctl),
    ("mount", libc::SYS_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("open_tree", libc::SYS_open_tree),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pivot_root", libc::SYS_pivot_root),
    ("quotactl", libc::SYS_quotactl),
    ("reboot", libc::SYS_reboot),
    ("request_key", libc::SYS_request_key),
    ("setns", libc::SYS_setns),
    ("swapon", libc::SYS_swapon),
    ("umount2", libc::SYS_umount2),
    ("unshare", libc::SYS_unshare),
    ("userfaultfd", libc::SYS_userfaultfd),
];

/// Makes each call with nothing but zeroes: its name and the error number, 0 when it succeeded.
#[must_use]
pub fn dangerous_calls() -> Vec<(&'static str, i32)> {
    let try_one = |(name, number): (&'static str, libc::c_long)| {
        // SAFETY: all arguments are null or zero, so that the kernel touches no memory of ours.
        let done = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        (name, if done < 0 { error } else { 0 })
    };
    CALLS.into_iter().map(try_one).collect()
}

/// Opens an inode by its number alone on the file system of `within`, around every path and mount
/// (open_by_handle_at(2)).
///
/// # Errors
/// What the kernel says: `EPERM` without the right to do so.
pub fn open_by_inode(within: BorrowedFd<'_>, inode: u32) -> io::Result<OwnedFd> {
    // struct file_handle: its length, the type FILEID_INO32_GEN, number and generation.
    let handle: [u32; 4] = [8, 1, inode, 0];
    // SAFETY: the kernel reads the handle for the length that it gives; both outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            within.as_raw_fd(),
            handle.as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
