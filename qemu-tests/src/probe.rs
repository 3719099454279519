//! What a daemon may not do, tried in its place: the agent takes a daemon's view of the files, its
//! user, its capabilities and its filter, as the kernel tells them, and tries.
//!
//! It runs in the guest, as a process of its own that ends with the last attempt. What should come
//! of an attempt is judged outside.

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `SECCOMP_FILTER_FLAG_LOG`.
const LOG: u32 = 2;

/// Does what it tries, or says why not.
type Attempt = fn(&Target) -> io::Result<()>;

/// Whom attempts are aimed at.
struct Target {
    /// Another daemon.
    other: i32,
    /// A folder that the daemon may write to, if any.
    writable: String,
}

/// Every attempt, by the words that docs/PRIVILEGE.md has for it.
const ATTEMPTS: [(&str, Attempt); 31] = [
    ("become root", |_| {
        Ok(rustix::thread::set_thread_uid(rustix::process::Uid::ROOT)?)
    }),
    ("mount a file system", |_| {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, None)?;
        let flags = rustix::mount::UnmountFlags::empty();
        Ok(rustix::mount::unmount("/tmp", flags)?)
    }),
    ("mount one without devices and programs", |_| {
        let flags = rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::NOEXEC;
        rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, None)?;
        let flags = rustix::mount::UnmountFlags::empty();
        Ok(rustix::mount::unmount("/tmp", flags)?)
    }),
    ("change what is mounted", |_| {
        // No mount begins there: with the right to it, that is what is wrong.
        let flags = rustix::mount::MountFlags::BIND;
        match rustix::mount::mount_remount("/usr/lib", flags, c"") {
            Err(Errno::INVAL) => Ok(()),
            done => Ok(done?),
        }
    }),
    ("make a detached mount with devices", |_| {
        let context = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let flags = rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC;
        let attributes = rustix::mount::MountAttrFlags::empty();
        Ok(rustix::mount::fsmount(context.as_fd(), flags, attributes).map(drop)?)
    }),
    ("attach a detached mount", |_| call("move_mount")),
    ("load a module", |_| {
        Ok(nix::kmod::init_module(&[0; 64], c"")?)
    }),
    ("load another kernel", |_| call("kexec_load")),
    ("reboot", |_| Ok(nix::sys::reboot::set_cad_enabled(false)?)),
    ("set the clock", |_| {
        let clock = rustix::time::ClockId::Realtime;
        Ok(rustix::time::clock_settime(
            clock,
            rustix::time::clock_gettime(clock),
        )?)
    }),
    ("swap", |_| call("swapon")),
    ("use a key ring", |_| call("keyctl")),
    ("open a file by its inode", |_| {
        match sys::probe::open_by_inode(File::open("/usr/bin")?.as_fd(), 2) {
            // The right is there, the inode is not.
            Err(error) if error.raw_os_error() == Some(Errno::STALE.raw_os_error()) => Ok(()),
            opened => opened.map(drop),
        }
    }),
    ("trace another daemon", |t| {
        let other = nix::unistd::Pid::from_raw(t.other);
        // Without a stop; it ends with this process.
        Ok(nix::sys::ptrace::seize(
            other,
            nix::sys::ptrace::Options::empty(),
        )?)
    }),
    ("read another daemon's memory", |t| {
        read(&format!("/proc/{}/mem", t.other))
    }),
    ("signal another daemon", |t| {
        Ok(nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(t.other),
            None,
        )?)
    }),
    ("set another daemon's limits", |t| {
        let other = rustix::process::Pid::from_raw(t.other);
        let limit = rustix::process::Resource::Core;
        let none = rustix::process::Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        Ok(rustix::process::prlimit(other, limit, none).map(drop)?)
    }),
    ("read the disk", |_| read("/dev/vda")),
    ("read a device of its own making", device),
    ("write below /usr", |_| write("/usr/bin/probe")),
    ("write a kernel setting", |_| {
        write("/proc/sys/kernel/hostname")
    }),
    ("run a file of its own making", execute),
    ("read the engine's store", |_| {
        // An empty folder in its place is none.
        match fs::read_dir("/var/lib/skeg")?.next() {
            Some(entry) => entry.map(drop),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }),
    ("say that a release is good", |_| {
        write(formats::release::BOOT_OK)
    }),
    ("open a raw socket", |_| {
        socket(AddressFamily::INET, Some(rustix::net::ipproto::ICMP))
    }),
    ("open a packet socket", |_| {
        socket(AddressFamily::PACKET, None)
    }),
    ("talk to PID 1", |_| talk(formats::paths::INIT_SOCKET)),
    ("talk to the zygote", |_| {
        talk(formats::paths::ZYGOTE_SOCKET)
    }),
    ("talk to the engine", |_| {
        talk(formats::paths::ENGINE_SOCKET)
    }),
    // Last: after these it is not in the daemon's place any more.
    ("make a mount namespace", |_| {
        unshare(nix::sched::CloneFlags::CLONE_NEWNS)
    }),
    ("make a user namespace", |_| {
        unshare(nix::sched::CloneFlags::CLONE_NEWUSER)
    }),
];

/// Takes the place of the process `pid`, whose filter lies at `filter` if it has one, and tries
/// everything: a line each, with the error's name or `granted`.
///
/// # Errors
/// When the place cannot be taken.
pub fn run(pid: i32, other: i32, filter: &str, writable: &str) -> io::Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Read before the view is the daemon's.
    let filters = match field(&status, "Seccomp")? {
        "2" => formats::seccomp::decode(&fs::read(filter)?).map_err(io::Error::other)?,
        _ => Vec::new(),
    };
    let view = File::open(format!("/proc/{pid}/ns/mnt"))?;
    nix::sched::setns(view, nix::sched::CloneFlags::CLONE_NEWNS)?;
    take_rights(&status)?;
    for filter in filters {
        let flags = if filter.is_told { LOG } else { 0 };
        sys::child::load_seccomp_filter(&filter.instructions, flags)?;
    }
    let target = Target {
        other,
        writable: writable.to_owned(),
    };
    let mut said = String::new();
    for (what, attempt) in ATTEMPTS {
        let outcome = match attempt(&target) {
            Ok(()) => "granted".to_owned(),
            Err(error) => name(&error),
        };
        said += &format!("{what}: {outcome}\n");
    }
    Ok(said)
}

/// Users, capabilities and `no_new_privs` as `/proc/PID/status` shows them.
fn take_rights(status: &str) -> io::Result<()> {
    let mask = |name| {
        let text = field(status, name)?;
        u64::from_str_radix(text, 16).map_err(io::Error::other)
    };
    let (bounding, permitted, ambient) = (mask("CapBnd")?, mask("CapPrm")?, mask("CapAmb")?);
    let (effective, inheritable) = (mask("CapEff")?, mask("CapInh")?);
    let uid: u32 = field(status, "Uid")?.parse().map_err(io::Error::other)?;
    let gid: u32 = field(status, "Gid")?.parse().map_err(io::Error::other)?;
    for bit in (0..64).filter(|bit| bounding & (1 << bit) == 0) {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false) {
            rustix::thread::remove_capability_from_bounding_set(one)?;
        }
    }
    rustix::thread::set_keep_capabilities(true)?;
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(gid.into(), gid.into(), gid.into())?;
    nix::unistd::setresuid(uid.into(), uid.into(), uid.into())?;
    let sets = CapabilitySets {
        permitted: CapabilitySet::from_bits_retain(permitted),
        effective: CapabilitySet::from_bits_retain(effective),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    rustix::thread::set_capabilities(None, sets)?;
    for bit in (0..64).filter(|bit| ambient & (1 << bit) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        rustix::thread::configure_capability_in_ambient_set(one, true)?;
    }
    if field(status, "NoNewPrivs")? == "1" {
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

fn field<'a>(status: &'a str, name: &str) -> io::Result<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.ok_or_else(|| io::Error::other(format!("no {name} in /proc/PID/status")))
}

fn name(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => "EPERM".to_owned(),
        Some(Errno::ACCESS) => "EACCES".to_owned(),
        Some(Errno::NOENT) => "ENOENT".to_owned(),
        Some(Errno::ROFS) => "EROFS".to_owned(),
        Some(Errno::NOSYS) => "ENOSYS".to_owned(),
        Some(Errno::AFNOSUPPORT) => "EAFNOSUPPORT".to_owned(),
        _ => error.to_string(),
    }
}

/// A call that does no harm, given nothing; with the right to make it, it fails for want of arguments.
fn call(name: &str) -> io::Result<()> {
    let calls = sys::probe::dangerous_calls();
    let found = calls.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, error)) if [libc_eperm(), libc_enosys()].contains(error) => {
            Err(io::Error::from_raw_os_error(*error))
        }
        Some(_) => Ok(()),
        None => Err(io::Error::other("no such call")),
    }
}

fn libc_eperm() -> i32 {
    Errno::PERM.raw_os_error()
}

fn libc_enosys() -> i32 {
    Errno::NOSYS.raw_os_error()
}

fn unshare(flags: nix::sched::CloneFlags) -> io::Result<()> {
    Ok(nix::sched::unshare(flags)?)
}

fn read(path: &str) -> io::Result<()> {
    let mut first = [0];
    let got = io::Read::read(&mut File::open(path)?, &mut first);
    // A hole at the start of a process's memory is no refusal.
    match got {
        Err(error) if error.raw_os_error() != Some(Errno::IO.raw_os_error()) => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &str) -> io::Result<()> {
    let made = !Path::new(path).exists();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if made {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn device(target: &Target) -> io::Result<()> {
    let path = format!("{}/probe-device", target.writable);
    let number = rustix::fs::makedev(254, 0);
    rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, number)?;
    let got = read(&path);
    fs::remove_file(&path)?;
    got
}

fn execute(target: &Target) -> io::Result<()> {
    let path = format!("{}/probe-program", target.writable);
    fs::write(&path, b"#!/nothing\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let got = std::process::Command::new(&path).spawn().map(drop);
    fs::remove_file(&path)?;
    // That its interpreter is not there is known only after the file itself was let run.
    match got {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        got => got,
    }
}

fn talk(path: &str) -> io::Result<()> {
    let kind = match path {
        formats::paths::ENGINE_SOCKET => SocketType::STREAM,
        _ => SocketType::SEQPACKET,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    Ok(rustix::net::connect(
        &socket,
        &rustix::net::SocketAddrUnix::new(path)?,
    )?)
}

fn socket(family: AddressFamily, protocol: Option<rustix::net::Protocol>) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::RAW, flags, protocol).map(drop)?)
}
