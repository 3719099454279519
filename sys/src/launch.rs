//! Starting a supervised program: one clone into its cgroup, then identity, limits, descriptors, exec.
//!
//! The child never allocates, locks or logs: all it needs lies ready before the clone. The caller is
//! held until the child has executed its program or failed, so an error is known at once.

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What to start and how. Everything that is not named here is closed or reset in the child.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<CString>,
    /// Environment, `NAME=VALUE` each. The value of a `LISTEN_PID` among them is filled in here.
    pub envp: Vec<CString>,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Descriptors that become 3, 4, … in the child.
    pub fds: Vec<BorrowedFd<'a>>,
    /// Folder of the cgroup that the child is born into; none = the caller's own.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// User and group; 0 keeps the caller's.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// Capabilities that stay in the bounding set; none = all.
    pub bounding: Option<u64>,
    /// Whether no exec below may gain privileges.
    pub no_new_privileges: bool,
    /// oom_score_adj of the child.
    pub oom_score_adjust: i32,
    /// Soft and hard limit of open files, as far as the caller has them itself.
    pub open_files: (u64, u64),
}

/// A started program.
#[derive(Debug)]
pub struct Launched {
    /// Its process id.
    pub pid: u32,
    /// A descriptor that names it for good.
    pub pidfd: OwnedFd,
}

/// Why a program was not started: the step and what the kernel said.
#[derive(Debug)]
pub struct LaunchError {
    /// What failed, e.g. `execve`.
    pub step: &'static str,
    /// The error of that step.
    pub error: io::Error,
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

impl std::error::Error for LaunchError {}

/// Names of the child's steps, by the number that it reports.
const STEPS: [&str; 9] = [
    "setsid",
    "oom_score_adj",
    "setrlimit",
    "dup",
    "close_range",
    "capability bounding set",
    "setgid and setuid",
    "no_new_privs",
    "execve",
];

/// clone3's flag, which libc declares too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Longest text of a process id, which `LISTEN_PID=` leaves room for.
const PID_ROOM: usize = 10;

/// All that the child touches, laid out before the clone.
struct Prepared {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    listen_pid: Vec<u8>,
    sources: Vec<RawFd>,
    report: RawFd,
    oom: CString,
    uid: u32,
    gid: u32,
    bounding: Option<u64>,
    no_new_privileges: bool,
    open_files: libc::rlimit,
}

/// Starts the program.
///
/// # Errors
/// The first step that failed, in the caller or in the child; no process is left behind but one
/// that has exited with 127 and waits to be reaped.
pub fn launch(launch: &Launch<'_>) -> Result<Launched, LaunchError> {
    let (report, reporter) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| failed("pipe", e.into()))?;
    let mut prepared = prepare(launch, reporter.as_raw_fd())?;
    let mut pidfd: RawFd = -1;
    let pid = clone_into(&mut prepared, launch.cgroup, &mut pidfd)?;
    drop(reporter);
    // SAFETY: clone3 with CLONE_PIDFD has just stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let mut told = [0u8; 5];
    match std::fs::File::from(report).read(&mut told) {
        Ok(5) => {
            let step = STEPS.get(usize::from(told[0])).unwrap_or(&"start");
            let errno = i32::from_le_bytes([told[1], told[2], told[3], told[4]]);
            Err(failed(step, io::Error::from_raw_os_error(errno)))
        }
        _ => Ok(Launched { pid, pidfd }),
    }
}

fn failed(step: &'static str, error: io::Error) -> LaunchError {
    LaunchError { step, error }
}

fn prepare(launch: &Launch<'_>, report: RawFd) -> Result<Prepared, LaunchError> {
    let mut listen_pid = b"LISTEN_PID=".to_vec();
    listen_pid.resize(listen_pid.len() + PID_ROOM + 1, 0);
    let env = |text: &CString| match text.to_bytes().starts_with(b"LISTEN_PID=") {
        true => listen_pid.as_ptr().cast(),
        false => text.as_ptr(),
    };
    let mut envp: Vec<_> = launch.envp.iter().map(env).collect();
    envp.push(std::ptr::null());
    let mut argv: Vec<_> = launch.argv.iter().map(|text| text.as_ptr()).collect();
    if argv.is_empty() {
        return Err(failed("execve", io::ErrorKind::InvalidInput.into()));
    }
    argv.push(std::ptr::null());
    let all = launch.stdio.iter().chain(&launch.fds);
    let oom = CString::new(launch.oom_score_adjust.to_string())
        .map_err(|_| failed("oom_score_adj", io::ErrorKind::InvalidInput.into()))?;
    Ok(Prepared {
        argv,
        envp,
        listen_pid,
        sources: all.map(AsRawFd::as_raw_fd).collect(),
        report,
        oom,
        uid: launch.uid,
        gid: launch.gid,
        bounding: launch.bounding,
        no_new_privileges: launch.no_new_privileges,
        open_files: within_own_limit(launch.open_files),
    })
}

/// A limit that the caller has itself is no error of the program's.
fn within_own_limit((soft, hard): (u64, u64)) -> libc::rlimit {
    let mut own = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit fills the struct, which outlives the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut own) } == 0;
    let most = if known { own.rlim_max } else { hard };
    libc::rlimit {
        rlim_cur: soft.min(most),
        rlim_max: hard.min(most),
    }
}

fn clone_into(
    prepared: &mut Prepared,
    cgroup: Option<BorrowedFd<'_>>,
    pidfd: &mut RawFd,
) -> Result<u32, LaunchError> {
    let into = if cgroup.is_some() {
        CLONE_INTO_CGROUP
    } else {
        0
    };
    // SAFETY: clone_args is plain data for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_PIDFD | libc::CLONE_VFORK) as u64 | into;
    args.pidfd = std::ptr::from_mut(pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: without CLONE_VM the child has its own copy of the memory, as after fork; it only runs
    // `child`, which makes nothing but system calls on memory prepared above and never returns.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            std::mem::size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => child(prepared),
        -1 => Err(failed("clone3", io::Error::last_os_error())),
        pid => u32::try_from(pid).map_err(|_| failed("clone3", io::ErrorKind::InvalidData.into())),
    }
}

fn child(prepared: &mut Prepared) -> ! {
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
    if !prepared.bounding.is_none_or(drop_capabilities) {
        return 5;
    }
    if !take_identity(prepared.uid, prepared.gid) {
        return 6;
    }
    if prepared.no_new_privileges {
        // SAFETY: this prctl takes only numbers.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        if result < 0 {
            return 7;
        }
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
    8
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

fn take_identity(uid: u32, gid: u32) -> bool {
    if uid == 0 && gid == 0 {
        return true;
    }
    // SAFETY: numbers, and an empty list of groups for which no memory is read.
    unsafe {
        libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) >= 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) >= 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) >= 0
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn words(words: &[&str]) -> Vec<CString> {
        words.iter().map(|w| CString::new(*w).unwrap()).collect()
    }

    fn shell<'a>(script: &str, out: &'a impl AsFd, fds: Vec<BorrowedFd<'a>>) -> Launch<'a> {
        Launch {
            argv: words(&["/bin/sh", "-c", script]),
            envp: words(&["LISTEN_PID=?", "LISTEN_FDS=1"]),
            stdio: [out.as_fd(), out.as_fd(), out.as_fd()],
            fds,
            cgroup: None,
            uid: 0,
            gid: 0,
            bounding: None,
            no_new_privileges: true,
            oom_score_adjust: 0,
            open_files: (512, 512),
        }
    }

    fn output(mut pipe: std::io::PipeReader) -> String {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_program_sees_its_own_pid_and_the_handed_descriptor() {
        let (reader, writer) = std::io::pipe().unwrap();
        let stored = tempfile::tempfile().unwrap();
        let script =
            "[ $LISTEN_PID = $$ ] && echo pid; [ -e /proc/self/fd/3 ] && echo fd; ulimit -n";
        let started = launch(&shell(script, &writer, vec![stored.as_fd()])).unwrap();
        drop(writer);
        assert_eq!(output(reader), "pid\nfd\n512\n");
        assert!(started.pid > 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_the_step() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut wrong = shell("", &writer, vec![]);
        wrong.argv = words(&["/nonexistent/program"]);
        let error = launch(&wrong).unwrap_err();
        assert_eq!(error.step, "execve");
        assert_eq!(error.error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nothing_but_the_handed_descriptors_is_inherited() {
        let (reader, writer) = std::io::pipe().unwrap();
        // SAFETY: dup of a valid descriptor, without CLOEXEC on purpose, owned from here on.
        let leaky = unsafe { OwnedFd::from_raw_fd(libc::dup(writer.as_raw_fd())) };
        let number = leaky.as_raw_fd();
        let script = format!("[ -e /proc/$$/fd/{number} ] && echo leaked; echo done");
        launch(&shell(&script, &writer, vec![])).unwrap();
        drop((writer, leaky));
        assert_eq!(output(reader), "done\n");
    }
}
