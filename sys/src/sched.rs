//! How a process is scheduled, and what it believes of its machine: scheduler, I/O priority, personality.
//!
//! Numbers in, one system call each; what they mean is decided elsewhere.

use std::io;

/// The attributes of sched_setattr(2), in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Priority of the real-time policies.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// `struct sched_attr` as of Linux 3.14.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets how this thread is scheduled.
///
/// # Errors
/// What the kernel says, `EPERM` without the right to it.
pub fn set_scheduling(scheduling: &Scheduling) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduling.policy,
        flags: scheduling.flags,
        nice: scheduling.nice,
        priority: scheduling.priority,
        runtime: scheduling.runtime,
        deadline: scheduling.deadline,
        period: scheduling.period,
    };
    // SAFETY: the structure is read for the size that it names and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    outcome(done)
}

/// Sets the I/O priority of this process (`ioprio_set(2)`): class 1 to 3, level 0 to 7.
///
/// # Errors
/// What the kernel says.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
    let value = libc::c_int::from(class) << IOPRIO_CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: numbers only.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    outcome(done)
}

/// Sets the execution domain (`personality(2)`).
///
/// # Errors
/// What the kernel says.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: a number only.
    let done = unsafe { libc::personality(domain.into()) };
    outcome(done.into())
}

/// Sets the memory policy of this thread (`set_mempolicy(2)`); `nodes` are bits, node 0 first.
///
/// # Errors
/// What the kernel says.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> io::Result<()> {
    let (pointer, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        // The kernel takes the highest bit plus one.
        nodes => (nodes.as_ptr(), nodes.len() as u64 * 64 + 1),
    };
    // SAFETY: the mask is read for the number of bits given, less one, and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    outcome(done)
}

fn outcome(done: i64) -> io::Result<()> {
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_the_kernel_does_not_know_is_refused() {
        let scheduling = Scheduling {
            policy: 99,
            ..Scheduling::default()
        };
        let error = set_scheduling(&scheduling).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn an_io_class_that_is_none_is_refused() {
        let error = set_io_priority(7, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
