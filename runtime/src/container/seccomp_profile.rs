//! Docker's default seccomp profile: which system calls a container may make, as a spec's value.
//!
//! An allow list; what a capability is for is allowed with that capability only.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::capabilities::Set;

/// Always allowed, whatever the arguments.
const ALLOWED: &str = "\
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 \
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 \
dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 \
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat \
fcntl fcntl64 fdatasync fgetxattr file_getattr file_setattr flistxattr flock fork fremovexattr \
fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex \
futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents \
getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer \
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid \
getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area \
gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init \
inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents \
io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule \
landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen \
listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise \
map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock \
mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget \
msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect \
open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free \
pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease \
pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv \
recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename \
renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 \
rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select \
semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto \
setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid \
setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 \
setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 \
setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask \
sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync \
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun \
timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime \
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit \
umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice \
wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace";

/// Allowed on this architecture besides.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "arch_prctl modify_ldt";
/// Allowed on this architecture besides.
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: &str = "";

/// Allowed with a capability.
const WITH_CAPABILITY: [(&str, &str); 12] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname \
         setns statmount syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    (
        "SYS_TIME",
        "clock_settime clock_settime64 settimeofday stime",
    ),
    ("SYS_TTY_CONFIG", "vhangup"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYSLOG", "syslog"),
];

/// personality(2) values that change nothing which hardening relies on.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// All `CLONE_NEW*` flags but the cgroup's and time's, as Docker masks them.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

const AF_VSOCK: u64 = 40;
const ENOSYS: u32 = 38;

/// The profile for a container with these capabilities in its bounding set.
#[must_use]
pub fn docker(capabilities: Set) -> LinuxSeccomp {
    let mut syscalls = vec![allow(ALLOWED, &[])];
    if !ARCHITECTURE.is_empty() {
        syscalls.push(allow(ARCHITECTURE, &[]));
    }
    for (capability, names) in WITH_CAPABILITY {
        if capabilities.has(capability) {
            syscalls.push(allow(names, &[]));
        }
    }
    // Of CAP_SYS_ADMIN's rights, these two came to stand alone.
    if !capabilities.has("SYS_ADMIN") {
        for (capability, names) in [("BPF", "bpf"), ("PERFMON", "perf_event_open")] {
            if capabilities.has(capability) {
                syscalls.push(allow(names, &[]));
            }
        }
        let masked = LinuxSeccompOperator::ScmpCmpMaskedEq;
        syscalls.push(allow("clone", &[arg(CLONE_NAMESPACES, Some(0), masked)]));
        // Its flags lie in memory, where no filter can look: it must seem absent.
        let mut clone3 = allow("clone3", &[]);
        clone3
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(ENOSYS));
        syscalls.push(clone3);
    }
    let not_equal = LinuxSeccompOperator::ScmpCmpNe;
    syscalls.push(allow("socket", &[arg(AF_VSOCK, None, not_equal)]));
    for value in PERSONALITIES {
        let equal = LinuxSeccompOperator::ScmpCmpEq;
        syscalls.push(allow("personality", &[arg(value, None, equal)]));
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(1))
        .set_architectures(Some(architectures()))
        .set_syscalls(Some(syscalls));
    profile
}

#[cfg(target_arch = "x86_64")]
fn architectures() -> Vec<Arch> {
    vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
}

#[cfg(not(target_arch = "x86_64"))]
fn architectures() -> Vec<Arch> {
    vec![Arch::ScmpArchNative]
}

fn allow(names: &str, args: &[LinuxSeccompArg]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_whitespace().map(str::to_owned).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args(Some(args.to_vec()).filter(|args| !args.is_empty()));
    rule
}

/// A condition on the first argument.
fn arg(value: u64, value_two: Option<u64>, op: LinuxSeccompOperator) -> LinuxSeccompArg {
    let mut arg = LinuxSeccompArgBuilder::default()
        .index(0usize)
        .value(value)
        .op(op);
    if let Some(two) = value_two {
        arg = arg.value_two(two);
    }
    // Every field has a default: there is nothing that could be missing.
    arg.build().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dangerous_is_allowed_without_its_capability() {
        let profile = docker(Set::default());
        let allowed: Vec<&str> = profile
            .syscalls()
            .iter()
            .flatten()
            .filter(|rule| rule.args().is_none())
            .filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow)
            .flat_map(LinuxSyscall::names)
            .map(String::as_str)
            .collect();
        for name in [
            "add_key",
            "bpf",
            "clone",
            "clone3",
            "io_uring_setup",
            "kexec_load",
            "keyctl",
            "mount",
            "open_by_handle_at",
            "pivot_root",
            "request_key",
            "setns",
            "swapon",
            "unshare",
            "userfaultfd",
            "socket",
            "personality",
        ] {
            assert!(!allowed.contains(&name), "{name}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<&str> = ALLOWED.split_whitespace().collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
