//! System calls by name, and the groups that service files name with `@`.
//!
//! Numbers are those of x86-64; a name that is not here cannot be allowed or refused by name.

/// A call's name, with `SYS_` before it, and its number.
pub(super) type Call = (&'static str, libc::c_long);

macro_rules! calls {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Every group.
pub(super) const GROUPS: [(&str, &[Call]); 9] = [
    ("@program", PROGRAM),
    ("@files", FILES),
    ("@network", NETWORK),
    ("@owner", OWNER),
    ("@signal", SIGNAL),
    ("@mount", MOUNT),
    ("@module", MODULE),
    ("@hardware", HARDWARE),
    ("@others", OTHERS),
];

/// What a Rust program with threads and an event loop does whatever it is for.
#[rustfmt::skip]
const PROGRAM: &[Call] = calls![
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_close, SYS_close_range, SYS_fstat, SYS_lseek, SYS_fcntl, SYS_ioctl, SYS_dup, SYS_dup2,
    SYS_dup3, SYS_pipe, SYS_pipe2, SYS_eventfd2, SYS_signalfd4, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_timerfd_gettime, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
    SYS_epoll_pwait, SYS_epoll_pwait2, SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6,
    SYS_mmap, SYS_mprotect, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_membarrier,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack,
    SYS_restart_syscall, SYS_pause, SYS_tgkill, SYS_exit, SYS_exit_group, SYS_execve,
    SYS_arch_prctl, SYS_prctl, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_futex,
    SYS_clone, SYS_wait4, SYS_waitid, SYS_pidfd_open, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_getcpu, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres,
    SYS_gettimeofday, SYS_time, SYS_getrandom, SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid,
    SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getresuid, SYS_getresgid, SYS_getsid,
    SYS_getpgid, SYS_capget, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage, SYS_uname,
    SYS_sysinfo, SYS_getcwd,
];

/// Files, their content, names, modes and attributes.
#[rustfmt::skip]
const FILES: &[Call] = calls![
    SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx,
    SYS_statfs, SYS_fstatfs, SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink,
    SYS_readlinkat, SYS_getdents64, SYS_chdir, SYS_fchdir, SYS_mkdir, SYS_mkdirat, SYS_rmdir,
    SYS_rename, SYS_renameat, SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat,
    SYS_unlink, SYS_unlinkat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_umask,
    SYS_utimensat, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_fsync,
    SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_flock, SYS_copy_file_range,
    SYS_sendfile, SYS_splice, SYS_tee, SYS_vmsplice, SYS_memfd_create, SYS_inotify_init1,
    SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr,
    SYS_listxattr, SYS_llistxattr, SYS_flistxattr, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
    SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
];

/// Sockets, of whatever family `RestrictAddressFamilies=` leaves.
#[rustfmt::skip]
const NETWORK: &[Call] = calls![
    SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect,
    SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto,
    SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
];

/// Giving files away, and making devices.
#[rustfmt::skip]
const OWNER: &[Call] = calls![
    SYS_chown, SYS_fchown, SYS_lchown, SYS_fchownat, SYS_mknod, SYS_mknodat,
];

/// Signals to other processes.
#[rustfmt::skip]
const SIGNAL: &[Call] = calls![
    SYS_kill, SYS_tkill, SYS_pidfd_send_signal, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
];

/// Everything that changes what is mounted where.
#[rustfmt::skip]
const MOUNT: &[Call] = calls![
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_fsopen, SYS_fspick, SYS_fsconfig,
    SYS_fsmount, SYS_open_tree, SYS_move_mount, SYS_mount_setattr,
];

/// Code for the kernel: modules, and another kernel.
#[rustfmt::skip]
const MODULE: &[Call] = calls![
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
];

/// What bypasses drivers, and swap.
#[rustfmt::skip]
const HARDWARE: &[Call] = calls![SYS_iopl, SYS_ioperm, SYS_swapon, SYS_swapoff];

/// No daemon of ours needs them all; each may be named alone.
#[rustfmt::skip]
const OTHERS: &[Call] = calls![
    SYS_setns, SYS_unshare, SYS_bpf, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_pidfd_getfd, SYS_kcmp, SYS_reboot, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup,
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_setuid, SYS_setgid,
    SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_capset, SYS_seccomp, SYS_sethostname,
    SYS_setdomainname, SYS_acct, SYS_quotactl, SYS_syslog, SYS_vhangup, SYS_personality, SYS_setsid,
];

/// Numbers of 32-bit x86 for what may be refused to containers, whose programs may be 32-bit ones.
const OF_I386: [(&str, u32); 9] = [
    ("SYS_swapon", 87),
    ("SYS_ioperm", 101),
    ("SYS_iopl", 110),
    ("SYS_swapoff", 115),
    ("SYS_init_module", 128),
    ("SYS_delete_module", 129),
    ("SYS_kexec_load", 283),
    ("SYS_finit_module", 350),
    // 32-bit x86 has none: a number that no call has.
    ("SYS_kexec_file_load", u32::MAX),
];

/// The calls behind a word of a service file: a group's, or the one of this name.
pub(super) fn named(word: &str) -> Option<Vec<Call>> {
    if let Some((_, calls)) = GROUPS.iter().find(|(group, _)| *group == word) {
        return Some(calls.to_vec());
    }
    let mut all = GROUPS.iter().flat_map(|(_, calls)| calls.iter());
    let found = all.find(|(name, _)| name.strip_prefix("SYS_") == Some(word));
    found.map(|call| vec![*call])
}

/// The call's number among those of 32-bit x86.
pub(super) fn i386(call: &Call) -> Option<u32> {
    let (_, number) = OF_I386.iter().find(|(name, _)| *name == call.0)?;
    Some(*number)
}

/// A socket family's number.
pub(super) fn family(name: &str) -> Option<u32> {
    Some(match name {
        "AF_UNIX" => 1,
        "AF_INET" => 2,
        "AF_INET6" => 10,
        "AF_NETLINK" => 16,
        "AF_PACKET" => 17,
        _ => return None,
    })
}

/// The `CLONE_NEW*` flag of a kind of namespaces.
pub(super) fn namespace(name: &str) -> Option<u32> {
    KINDS
        .iter()
        .find(|(kind, _)| *kind == name)
        .map(|(_, flag)| *flag)
}

/// Kinds of namespaces and their flags (clone(2)).
pub(super) const KINDS: [(&str, u32); 8] = [
    ("mnt", 0x0002_0000),
    ("cgroup", 0x0200_0000),
    ("uts", 0x0400_0000),
    ("ipc", 0x0800_0000),
    ("user", 0x1000_0000),
    ("pid", 0x2000_0000),
    ("net", 0x4000_0000),
    ("time", 0x0000_0080),
];
