//! What must hold before a process gets a slot: the pidfd names it, it is PID 1's own child, and it is
//! in its container's cgroup.
//!
//! Read from the kernel, not from what the client says.

use formats::paths;
use formats::registration::{ErrorCode, Id};
use rustix::fs::{Mode, OFlags};
use std::fmt::Write;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The start time of the process in clock ticks since boot.
///
/// # Errors
/// [`ErrorCode::Gone`] unless the pidfd names this pid and PID 1 has not reaped it.
pub fn verify(pid: u32, pidfd: BorrowedFd<'_>) -> Result<u64, ErrorCode> {
    let mut buffer = [0u8; 1024];
    let own = format_args!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let named = read(own, &mut buffer).and_then(pid_of_fdinfo);
    if named != Some(pid) || !matches!(sys::reap::is_child(pidfd), Ok(true)) {
        return Err(ErrorCode::Gone);
    }
    let stat = read(format_args!("/proc/{pid}/stat"), &mut buffer);
    stat.and_then(start_of_stat).ok_or(ErrorCode::Gone)
}

/// Whether the process is in the container's cgroup or below it, on a host that has cgroups: else a
/// service could be taken for a container, and its end would be nobody's.
///
/// # Errors
/// [`ErrorCode::Foreign`] when it is in another, or that cannot be read.
pub fn verify_place(pid: u32, id: Id) -> Result<(), ErrorCode> {
    let mut buffer = [0u8; 1024];
    let text = read(format_args!("/proc/{pid}/cgroup"), &mut buffer);
    let place = text.and_then(place_of_cgroup);
    if place.is_some_and(|place| is_container(place, id)) {
        Ok(())
    } else {
        Err(ErrorCode::Foreign)
    }
}

/// The line of cgroup v2 (cgroups(7)), without its first slash.
fn place_of_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn is_container(place: &str, id: Id) -> bool {
    let rest = place.strip_prefix(paths::CGROUP_CONTAINERS);
    let rest = rest.and_then(|rest| rest.strip_prefix('/')?.strip_prefix(id.as_str()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads the head of a small file without allocating.
fn read<'a>(path: std::fmt::Arguments<'_>, buffer: &'a mut [u8; 1024]) -> Option<&'a str> {
    let mut name = Path::default();
    name.write_fmt(path).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(name.as_str()?, flags, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut buffer[..]).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

/// A path on the stack.
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            bytes: [0; 64],
            length: 0,
        }
    }
}

impl Path {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[..self.length]).ok()
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn pid_of_fdinfo(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok()
}

/// Field 22 of proc_pid_stat(5); the name in field 2 may hold anything, so count from its end.
fn start_of_stat(text: &str) -> Option<u64> {
    let after_name = text.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::AsFd;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) 9 (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        assert_eq!(start_of_stat(stat), Some(12345));
        assert_eq!(start_of_stat("7 (a"), None);
    }

    #[test]
    fn only_the_container_s_own_cgroup_is_its_place() {
        let id = Id::new("abc").unwrap();
        let is_its = |text| is_container(place_of_cgroup(text).unwrap(), id);
        assert!(is_its("1:cpu:/x\n0::/containers.slice/abc\n"));
        assert!(is_its("0::/containers.slice/abc/inner\n"));
        assert!(!is_its("0::/containers.slice/abcd\n"));
        assert!(!is_its("0::/containers.slice\n"));
        assert!(!is_its("0::/skeg.slice/zygote\n"));
        assert!(!is_its("0::/\n"));
        assert_eq!(place_of_cgroup("1:cpu:/containers.slice/abc\n"), None);
        let own = verify_place(std::process::id(), id);
        assert_eq!(own, Err(ErrorCode::Foreign));
    }

    #[test]
    fn only_the_child_that_the_pidfd_names_is_accepted() {
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let open = |pid: u32| {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            pidfd_open(pid, PidfdFlags::empty()).unwrap()
        };
        let fd = open(child.id());
        assert!(verify(child.id(), fd.as_fd()).unwrap() > 0);
        assert_eq!(verify(child.id() + 1, fd.as_fd()), Err(ErrorCode::Gone));
        let own = open(std::process::id());
        assert_eq!(
            verify(std::process::id(), own.as_fd()),
            Err(ErrorCode::Gone)
        );
        let file = tempfile::tempfile().unwrap();
        assert_eq!(verify(child.id(), file.as_fd()), Err(ErrorCode::Gone));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(verify(child.id(), fd.as_fd()), Err(ErrorCode::Gone));
    }
}
