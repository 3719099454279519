//! The device filter of a cgroup: an eBPF program that the kernel runs on each open and mknod.
//!
//! It takes ready instructions and attaches them; which devices they allow is decided elsewhere.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`; what is not given counts as zero.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The start of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads `instructions` (each a `struct bpf_insn` as a native-endian word) and attaches the program
/// to `cgroup`, an open directory on cgroup2. The kernel keeps it as long as the cgroup.
///
/// # Errors
/// `EINVAL` or `EACCES` when the verifier refuses the program, else what the kernel says.
pub fn attach(cgroup: BorrowedFd<'_>, instructions: &[u64]) -> io::Result<()> {
    let count =
        u32::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: count,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the structure is read for its size; it points to `count` words and a C string, both
    // alive over the call, and the verifier checks the program.
    let program = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const load,
            size_of::<Load>(),
        )
    };
    let program = i32::try_from(program).unwrap_or(-1);
    if program < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the structure is read for its size and holds numbers only.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
