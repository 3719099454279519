//! Starting a supervised program: one clone into its cgroup, then identity, limits, descriptors, exec.
//!
//! The child never allocates, locks or logs: all it needs lies ready before the clone. The caller is
//! held until the child has executed its program or failed, so an error is known at once.

mod steps;

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use steps::{PID_ROOM, Prepared, STEPS, child};

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

/// clone3's flag, which libc declares too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

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
