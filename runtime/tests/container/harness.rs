//! What every case needs: a zygote, a root with busybox, and a container run to its end.
//!
//! It runs as the first process of its own pid namespace: whatever is left dies with it.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};

use runtime::container::defaults::{self, Options, Rlimit};
use runtime::zygote::{Client, CreateRequest, Created, Error, Rootfs, Stdio};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// A case: its promise and what shows it.
pub type Case = (&'static str, fn(Host) -> Pin<Box<dyn Future<Output = ()>>>);

/// The table of a module's cases.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const ALL: &[Case] = &[$((stringify!($name), |host| Box::pin($name(host)))),*];
    };
}
pub(crate) use cases;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 15] = [
    "sh", "cat", "ls", "id", "true", "pwd", "env", "mount", "mknod", "touch", "stat", "hostname",
    "sleep", "grep", "dd",
];

/// What must be there; the error names what is not. Leaves for new namespaces on the way.
pub fn prerequisites() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("root is needed, to make namespaces and mounts".into());
    }
    let busybox = std::fs::read(BUSYBOX).unwrap_or_default();
    let dynamic = busybox.windows(14).any(|bytes| bytes == b"/ld-linux-x86-");
    if busybox.is_empty() || dynamic {
        return Err(format!(
            "{BUSYBOX} must be static: apt-get install busybox-static"
        ));
    }
    let flags = runtime::container::namespaces::Namespace::Mnt.clone_flag()
        | runtime::container::namespaces::Namespace::Pid.clone_flag();
    sys::child::unshare_namespace(flags).map_err(|error| format!("unshare: {error}"))
}

/// The place where a case runs.
#[derive(Clone)]
pub struct Host {
    /// A tmpfs of the tests' own.
    pub directory: PathBuf,
    /// The way to the zygote.
    pub client: Client,
}

/// Runs the cases whose names hold `filter`.
pub fn run(filter: Option<&str>, cases: &[&[Case]]) -> ExitCode {
    let host = match set_up() {
        Ok(host) => host,
        Err(error) => {
            eprintln!("container tests: set-up: {error}");
            return ExitCode::FAILURE;
        }
    };
    let reactor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(reactor) = reactor else {
        return ExitCode::FAILURE;
    };
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, case) in cases.iter().copied().flatten() {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let mut host = host.clone();
        host.directory = host.directory.join(name);
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            std::fs::create_dir_all(&host.directory).unwrap();
            reactor.block_on(case(host));
        }));
        println!(
            "test {name} ... {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        match outcome {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
    }
    println!("\n{passed} passed, {} failed: {failed:?}", failed.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn set_up() -> std::io::Result<Host> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    mount("proc", Path::new("/proc"))?;
    let directory = PathBuf::from("/tmp");
    mount("tmpfs", &directory)?;
    let socket = directory.join("zygote.sock");
    let notify = directory.join("notify.sock");
    let ready = UnixDatagram::bind(&notify)?;
    ready.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    Command::new("/proc/self/exe")
        .arg(super::ZYGOTE)
        .arg(&socket)
        .env("NOTIFY_SOCKET", &notify)
        .spawn()?;
    let mut text = [0; 64];
    let length = ready.recv(&mut text)?;
    assert_eq!(&text[..length], b"READY=1");
    Ok(Host {
        directory,
        client: Client::new(socket),
    })
}

/// Mounts a new file system.
pub fn mount(fstype: &str, at: &Path) -> std::io::Result<()> {
    // As systemd and PID 1 mount it; a mount without these takes them from the host's too.
    let data = (fstype == "cgroup2").then_some(c"nsdelegate,memory_recursiveprot");
    rustix::mount::mount(fstype, at, fstype, MountFlags::empty(), data)?;
    Ok(())
}

/// What a container did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status, or 128 + signal.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Host {
    /// A place below, for another container of the same case.
    pub fn below(&self, name: &str) -> Self {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self {
            directory,
            client: self.client.clone(),
        }
    }

    /// A new root directory with busybox.
    pub fn root(&self) -> PathBuf {
        let root = self.directory.join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34::/srv:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.join("etc/group"), "www:x:34:\nlog:x:4:www\n").unwrap();
        root
    }

    /// A request, and the reading ends of its output and error.
    pub fn request(&self, options: &Options, rootfs: Rootfs) -> (CreateRequest, OwnedFd, OwnedFd) {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (stdin, _) = pipe();
        let ((out, stdout), (err, stderr)) = (pipe(), pipe());
        let stdio = if options.terminal {
            Stdio::Terminal
        } else {
            Stdio::Streams {
                stdin,
                stdout,
                stderr,
            }
        };
        let request = CreateRequest {
            id: "test".into(),
            spec: defaults::spec(None, options).unwrap(),
            rootfs,
            cgroup: None,
            stdio,
        };
        (request, out, err)
    }

    /// Runs a container on a directory to its end.
    pub async fn run(&self, options: &Options) -> Result<Outcome, Error> {
        let root = self.root();
        self.run_on(options, Rootfs::Directory(root)).await
    }

    /// Runs a container to its end.
    pub async fn run_on(&self, options: &Options, rootfs: Rootfs) -> Result<Outcome, Error> {
        let (request, out, err) = self.request(options, rootfs);
        let created = self.client.create(request).await?;
        let pidfd = created.pidfd.try_clone().unwrap();
        let started = created.start().await;
        let code = wait(&pidfd);
        started?;
        Ok(Outcome {
            code,
            out: read(out),
            err: read(err),
        })
    }

    /// Creates a container that waits for its start.
    pub async fn create(&self, options: &Options) -> Result<Created, Error> {
        let root = self.root();
        let (request, ..) = self.request(options, Rootfs::Directory(root));
        self.client.create(request).await
    }
}

/// Waits for a child; containers are children of this process.
pub fn wait(pidfd: &OwnedFd) -> u8 {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    let status = status.unwrap().unwrap();
    let code = status.exit_status().map(|code| code as u8);
    code.unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0) as u8)
}

/// Reads to the end.
pub fn read(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

/// Reads until `end` was shown.
pub fn read_until(terminal: &impl AsFd, end: &str) -> String {
    let mut shown = String::new();
    let mut bytes = [0; 256];
    while !shown.contains(end) {
        let length = rustix::io::read(terminal, &mut bytes).unwrap_or(0);
        assert_ne!(length, 0, "ended with {shown:?}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    shown
}

/// A shell command under Docker's defaults, but for what needs a cgroup or rights that a test lacks.
pub fn shell(command: &str) -> Options {
    Options {
        command: Some(vec!["sh".into(), "-c".into(), command.into()]),
        cap_drop: vec!["MKNOD".into()],
        rlimits: vec![Rlimit {
            name: "nofile".into(),
            soft: 512,
            hard: 1024,
        }],
        ..Options::default()
    }
}
