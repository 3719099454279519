//! Starting a supervised program: one clone into its cgroup, then identity, limits, descriptors, exec.
//!
//! The child never allocates, locks or logs: all it needs lies ready before the clone. The caller is
//! held until the child has executed its program or failed, so an error is known at once.

mod steps;
mod view;

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use steps::{FIRST_OF_VIEW, PID_ROOM, Prepared, STEPS, child};

pub use view::{DEVICES, MountStep, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

/// Steps of a view at most: each has its number in the child's report.
const MOST_OF_VIEW: usize = 128;

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
    /// Steps of a mount namespace of its own; none = the caller's namespace.
    pub view: Vec<MountStep>,
    /// Capabilities that stay in the bounding set; none = all.
    pub bounding: Option<u64>,
    /// Capabilities that a user other than root has, as a bit mask.
    pub ambient: u64,
    /// Whether no exec below may gain privileges.
    pub no_new_privileges: bool,
    /// Filters of system calls, loaded in this order; they hold from the exec on, which they must allow.
    pub filters: Vec<Filter>,
    /// oom_score_adj of the child.
    pub oom_score_adjust: i32,
    /// Soft and hard limit of open files, as far as the caller has them itself.
    pub open_files: (u64, u64),
}

/// A filter of system calls.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The kernel's `struct sock_filter`s.
    pub instructions: Vec<u8>,
    /// Whether what it refuses is in the kernel's log.
    pub is_told: bool,
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
    pub step: String,
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
            let step = name(&launch.view, told[0]);
            let errno = i32::from_le_bytes([told[1], told[2], told[3], told[4]]);
            Err(failed(&step, io::Error::from_raw_os_error(errno)))
        }
        _ => Ok(Launched { pid, pidfd }),
    }
}

fn failed(step: &str, error: io::Error) -> LaunchError {
    LaunchError {
        step: step.to_owned(),
        error,
    }
}

fn name(view: &[MountStep], number: u8) -> String {
    let of_view = number.checked_sub(FIRST_OF_VIEW);
    match of_view.and_then(|at| view.get(usize::from(at))) {
        Some(step) => view::describe(step),
        None => {
            let step = STEPS.get(usize::from(number));
            (*step.unwrap_or(&"start")).to_owned()
        }
    }
}

/// A program that is no whole number of instructions would be loaded in part.
fn filter(filter: &Filter) -> Result<(libc::c_ulong, Vec<libc::sock_filter>), LaunchError> {
    let instructions = crate::child::instructions(&filter.instructions);
    let length = filter.instructions.len();
    let is_whole = length > 0 && length.is_multiple_of(size_of::<libc::sock_filter>());
    let flags = match filter.is_told {
        true => libc::SECCOMP_FILTER_FLAG_LOG,
        false => 0,
    };
    match is_whole && u16::try_from(instructions.len()).is_ok() {
        true => Ok((flags, instructions)),
        false => Err(failed("seccomp filter", io::ErrorKind::InvalidData.into())),
    }
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
    if launch.view.len() > MOST_OF_VIEW {
        return Err(failed(
            "mount namespace",
            io::ErrorKind::InvalidInput.into(),
        ));
    }
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
        view: launch.view.clone(),
        bounding: launch.bounding,
        ambient: launch.ambient,
        filters: launch
            .filters
            .iter()
            .map(filter)
            .collect::<Result<_, _>>()?,
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
            view: Vec::new(),
            bounding: None,
            ambient: 0,
            no_new_privileges: true,
            filters: Vec::new(),
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

    /// As the kernel tells it, of a program that was launched without rights and reads itself.
    #[test]
    fn a_user_has_the_ambient_capabilities_and_no_other_right() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut launched = shell("exec cat /proc/self/status", &writer, vec![]);
        (launched.uid, launched.gid) = (64_901, 64_900);
        launched.bounding = Some(1 << 12 | 1 << 13);
        launched.ambient = 1 << 12;
        launched.filters = vec![filter(&ALLOW)];
        launch(&launched).unwrap();
        drop(writer);
        let status = output(reader);
        for line in [
            "Uid:\t64901\t64901\t64901\t64901",
            "Gid:\t64900\t64900\t64900\t64900",
            "CapPrm:\t0000000000001000",
            "CapEff:\t0000000000001000",
            "CapBnd:\t0000000000003000",
            "CapAmb:\t0000000000001000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "no {line} in {status}");
        }
    }

    fn filter(instructions: &[u8]) -> Filter {
        Filter {
            instructions: instructions.to_vec(),
            is_told: true,
        }
    }

    /// `return SECCOMP_RET_ALLOW`.
    const ALLOW: [u8; 8] = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];

    #[test]
    fn a_filter_that_is_cut_is_not_loaded_in_part() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut cut = shell("", &writer, vec![]);
        for length in [0, 7] {
            cut.filters = vec![filter(&ALLOW), filter(&ALLOW[..length])];
            assert_eq!(launch(&cut).unwrap_err().step, "seccomp filter");
        }
    }

    #[test]
    fn a_view_is_the_service_s_own_and_the_host_sees_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["open", "hidden"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("hidden/secret"), "x").unwrap();
        let c = |name: &str| CString::new(at(name).to_str().unwrap()).unwrap();
        let attributes = |path, set, clear| MountStep::Attributes { path, set, clear };
        let (reader, writer) = std::io::pipe().unwrap();
        let script = format!(
            "cd {}; touch open/a && echo open; touch b 2>/dev/null || echo closed; \
             ls hidden; ls /dev | tr '\\n' ' '; echo x 2>/dev/null >/dev/null && echo null",
            folder.path().display()
        );
        let mut viewed = shell(&script, &writer, vec![]);
        viewed.view = vec![
            attributes(c"/".into(), READ_ONLY | NO_SUID, 0),
            MountStep::Devices,
            MountStep::Bind(c("open")),
            attributes(c("open"), 0, READ_ONLY),
            MountStep::HideFolder(c("hidden")),
        ];
        viewed.envp.push(c"PATH=/usr/bin:/bin".into());
        launch(&viewed).unwrap();
        drop(writer);
        let seen = output(reader);
        assert_eq!(
            seen,
            "open\nclosed\nfull null random tty urandom zero null\n"
        );
        assert!(at("open/a").exists() && !at("b").exists());
        assert!(at("hidden/secret").exists());
    }

    #[test]
    fn a_view_that_cannot_be_had_names_its_path() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut wrong = shell("", &writer, vec![]);
        wrong.view = vec![MountStep::Bind(c"/nonexistent/path".into())];
        let error = launch(&wrong).unwrap_err();
        assert_eq!(error.step, "bind /nonexistent/path");
        assert_eq!(error.error.kind(), io::ErrorKind::NotFound);
    }
}
