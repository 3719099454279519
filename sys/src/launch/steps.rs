//! The child's side of a launch, between clone and exec.
//!
//! It never allocates, locks, panics or logs: all that it touches was prepared before the clone.

use super::view::{self, MountStep};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;

/// Names of the child's steps, by the number that it reports.
pub(super) const STEPS: [&str; 12] = [
    "setsid",
    "oom_score_adj",
    "setrlimit",
    "dup",
    "close_range",
    "mount namespace",
    "capability bounding set",
    "setgid and setuid",
    "capabilities",
    "no_new_privs",
    "seccomp filter",
    "execve",
];
/// Steps from here on are those of the view, in order.
pub(super) const FIRST_OF_VIEW: u8 = 64;

/// Longest text of a process id, which `LISTEN_PID=` leaves room for.
pub(super) const PID_ROOM: usize = 10;

/// All that the child touches, laid out before the clone.
pub(super) struct Prepared {
    pub(super) argv: Vec<*const libc::c_char>,
    pub(super) envp: Vec<*const libc::c_char>,
    pub(super) listen_pid: Vec<u8>,
    pub(super) sources: Vec<RawFd>,
    pub(super) report: RawFd,
    pub(super) oom: CString,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) view: Vec<MountStep>,
    pub(super) bounding: Option<u64>,
    pub(super) ambient: u64,
    /// Flags of seccomp(2), and instructions.
    pub(super) filters: Vec<(libc::c_ulong, Vec<libc::sock_filter>)>,
    pub(super) no_new_privileges: bool,
    pub(super) open_files: libc::rlimit,
}

pub(super) fn child(prepared: &mut Prepared) -> ! {
    let step = steps(prepared);
    let errno = io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO);
    let mut told = [step, 0, 0, 0, 0];
    told[1..].copy_from_slice(&errno.to_le_bytes());
    // SAFETY: write and _exit are async-signal-safe; the buffer is a local array of five bytes.
    unsafe {
        libc::write(prepared.report, told.as_ptr().cast(), told.len());
        libc::_exit(127)
    }
}

/// Runs every step; returns the number of the one that failed, with its error in `errno`.
fn steps(prepared: &mut Prepared) -> u8 {
    // SAFETY: setsid, umask and chdir take no pointer but a constant string.
    unsafe {
        if libc::setsid() < 0 || libc::chdir(c"/".as_ptr()) < 0 {
            return 0;
        }
        libc::umask(0o022);
    }
    reset_signals();
    if !write_oom(&prepared.oom) {
        return 1;
    }
    // SAFETY: the limit is a valid struct in the child's own memory.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const prepared.open_files) } < 0 {
        return 2;
    }
    if !place_descriptors(prepared) {
        return 3;
    }
    let first = prepared.sources.len() as libc::c_uint;
    let flag = libc::CLOSE_RANGE_CLOEXEC as libc::c_uint;
    // SAFETY: close_range takes only numbers; everything above the placed ones becomes CLOEXEC.
    if unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flag) } < 0 {
        return 4;
    }
    if let Err(step) = confine(prepared) {
        return step;
    }
    write_own_pid(&mut prepared.listen_pid);
    // SAFETY: both arrays end with a null pointer, and their strings outlive the call: they belong
    // to `Launch`, which the (suspended) caller holds, or to `prepared`.
    unsafe {
        libc::execve(
            prepared.argv[0],
            prepared.argv.as_ptr(),
            prepared.envp.as_ptr(),
        );
    }
    11
}

/// Takes the rights away, each while the next may still be taken.
fn confine(prepared: &Prepared) -> Result<(), u8> {
    let held = |is_done: bool, step: u8| if is_done { Ok(()) } else { Err(step) };
    if !prepared.view.is_empty() {
        held(view::leave(), 5)?;
        for (step, number) in prepared.view.iter().zip(FIRST_OF_VIEW..) {
            held(view::take(step), number)?;
        }
        // The folder that it stands in is the host's still.
        // SAFETY: a constant C string.
        let done = unsafe { libc::chdir(c"/".as_ptr()) };
        held(done == 0, 5)?;
    }
    held(prepared.bounding.is_none_or(drop_capabilities), 6)?;
    held(
        take_identity(prepared.uid, prepared.gid, prepared.ambient),
        7,
    )?;
    if prepared.uid != 0 {
        held(keep_capabilities(prepared.ambient), 8)?;
    }
    if prepared.no_new_privileges {
        // SAFETY: this prctl takes only numbers.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        held(done == 0, 9)?;
    }
    let mut filters = prepared.filters.iter();
    held(filters.all(|(flags, filter)| load(*flags, filter)), 10)
}

fn reset_signals() {
    // SAFETY: an all-zero sigset_t is emptied before use; SIG_DFL is a valid disposition.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn write_oom(text: &CStr) -> bool {
    let path = c"/proc/self/oom_score_adj";
    // SAFETY: path and text are valid C strings; the descriptor is closed where it was opened.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let length = text.to_bytes().len();
        let written = libc::write(fd, text.as_ptr().cast(), length);
        // Lowering needs a privilege that a user namespace lacks; the program runs all the same.
        let allowed = written >= 0 || *libc::__errno_location() == libc::EACCES;
        libc::close(fd);
        allowed
    }
}

fn place_descriptors(prepared: &mut Prepared) -> bool {
    let count = prepared.sources.len() as RawFd;
    // SAFETY: fcntl and dup2 take only numbers. First everything moves above the targets, so that no
    // target is overwritten before it was copied.
    unsafe {
        prepared.report = libc::fcntl(prepared.report, libc::F_DUPFD_CLOEXEC, count);
        for source in &mut prepared.sources {
            *source = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, count);
            if *source < 0 {
                return false;
            }
        }
        for (target, source) in (0..count).zip(&prepared.sources) {
            if libc::dup2(*source, target) < 0 {
                return false;
            }
        }
    }
    prepared.report >= 0
}

fn drop_capabilities(keep: u64) -> bool {
    for number in (0..64).filter(|n| keep & (1 << n) == 0) {
        // SAFETY: these prctls take only numbers; reading tells where the kernel's list ends.
        unsafe {
            if libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) < 0 {
                break;
            }
            if libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) < 0 {
                return false;
            }
        }
    }
    true
}

fn take_identity(uid: u32, gid: u32, ambient: u64) -> bool {
    if uid == 0 && gid == 0 {
        return true;
    }
    // SAFETY: numbers, and an empty list of groups for which no memory is read.
    unsafe {
        (ambient == 0 || libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0)
            && libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) >= 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) >= 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) >= 0
    }
}

/// The capabilities of a user other than root: these, over the exec too, and no other.
fn keep_capabilities(keep: u64) -> bool {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let (low, high) = ((keep & 0xffff_ffff) as u32, (keep >> 32) as u32);
    // Effective, permitted, inheritable: without the last, nothing can be ambient.
    let sets = [low, low, low, high, high, high];
    // SAFETY: header and sets are laid out as the kernel's structures of this version.
    if unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } < 0 {
        return false;
    }
    for number in (0..64).filter(|n| keep & (1 << n) != 0) {
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: this prctl takes only numbers.
        if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0) } < 0 {
            return false;
        }
    }
    true
}

fn load(flags: libc::c_ulong, filter: &[libc::sock_filter]) -> bool {
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        filter: filter.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` points to `len` instructions, which the kernel copies and verifies.
    unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) == 0 }
}

/// Writes the caller's own pid in decimal after `LISTEN_PID=`, without allocating.
fn write_own_pid(text: &mut [u8]) {
    // SAFETY: getpid always succeeds and takes nothing.
    let mut pid = unsafe { libc::getpid() }.unsigned_abs();
    let mut digits = [0u8; PID_ROOM];
    let mut count = 0;
    while count < PID_ROOM && (pid > 0 || count == 0) {
        digits[count] = b'0' + (pid % 10) as u8;
        pid /= 10;
        count += 1;
    }
    let start = text.len() - PID_ROOM - 1;
    for (place, digit) in text[start..].iter_mut().zip(digits[..count].iter().rev()) {
        *place = *digit;
    }
}
