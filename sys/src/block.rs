//! Growing in place: the kernel's idea of a partition, and a mounted ext4.
//!
//! It knows no partition table: who asks has written one before.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BLKPG_RESIZE_PARTITION` of linux/blkpg.h.
const RESIZE_PARTITION: libc::c_int = 3;

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Argument {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *mut Partition,
}

mod request {
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::Argument);
    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
}

/// Tells the kernel that a partition of this disk, which may be in use, has another length. `start`
/// and `length` are bytes; `start` must be the one that the kernel knows.
///
/// # Errors
/// As ioctl(2), e.g. `EBUSY` when it would overlap another partition.
pub fn resize_partition(
    disk: BorrowedFd<'_>,
    number: u32,
    start: u64,
    length: u64,
) -> io::Result<()> {
    let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start: start.try_into().map_err(wrong)?,
        length: length.try_into().map_err(wrong)?,
        number: number.try_into().map_err(wrong)?,
        names: [0; 128],
    };
    let argument = Argument {
        operation: RESIZE_PARTITION,
        flags: 0,
        length: size_of::<Partition>() as libc::c_int,
        data: &raw mut partition,
    };
    // SAFETY: BLKPG reads both structs, which are laid out as the kernel's and outlive the call.
    unsafe { request::blkpg(disk.as_raw_fd(), &raw const argument)? };
    Ok(())
}

/// Grows the mounted ext4 that `inside` lies on to this many blocks (`EXT4_IOC_RESIZE_FS`). It may
/// end a little smaller, where the last group would hold nothing but its own tables.
///
/// # Errors
/// As ioctl(2), e.g. `EPERM` when the file system has recorded errors.
pub fn resize_ext4(inside: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the request reads one u64, which outlives the call.
    unsafe { request::ext4_resize(inside.as_raw_fd(), &raw const blocks)? };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_that_is_no_disk_is_an_error_and_no_more() {
        let file = tempfile::tempfile().unwrap();
        assert!(resize_partition(file.as_fd(), 2, 0, 512).is_err());
        assert!(resize_ext4(file.as_fd(), 1).is_err());
    }

    #[test]
    fn the_structs_have_the_kernels_sizes() {
        assert_eq!(size_of::<Partition>(), 152);
        assert_eq!(size_of::<Argument>(), 24);
    }
}
