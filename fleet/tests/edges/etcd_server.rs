//! A real etcd: Debian's etcd-server, as the image builder fetches and unpacks it; nothing is installed.
//!
//! Members die with the test, also with one that is killed.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Cluster members with their data.
pub struct Etcd {
    folder: tempfile::TempDir,
    members: Vec<Member>,
    flags: Vec<String>,
    durable: bool,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = pinned().join("usr/bin/etcd");
        if program.exists() {
            return program;
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let fetch = ["run", "--quiet", "-p", "image", "--", "fetch"];
        let output = Command::new(cargo).args(fetch).output().expect("run cargo");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("etcd "));
        let line = line.unwrap_or_else(|| {
            let why = String::from_utf8_lossy(&output.stderr);
            panic!("image fetch gave no etcd: {why}")
        });
        Path::new(line.splitn(3, ' ').nth(2).expect("a folder")).join("usr/bin/etcd")
    })
}

/// Where the image builder's cache has the version of the lock.
fn pinned() -> PathBuf {
    let lock = include_str!("../../../image/debian.lock");
    let table = lock
        .split("[package.etcd]")
        .nth(1)
        .expect("etcd in the lock");
    let hash = table.split("sha256 = \"").nth(1).expect("its hash");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target");
    target.join("debian").join(&hash[..64])
}

/// A port that nobody has: below those that the kernel gives to connections, and never the same twice
/// in this program.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(97);
    loop {
        let number = own.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 15_000 + u16::try_from(number % 16_000).expect("it fits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Etcd {
    /// So many members, all up and with a leader.
    pub fn start(members: usize, flags: &[&str]) -> Self {
        Self::begin(members, flags, false)
    }

    /// One member that waits for its disk, as outside of tests.
    pub fn durable() -> Self {
        Self::begin(1, &[], true)
    }

    fn begin(members: usize, flags: &[&str], durable: bool) -> Self {
        let member = |_| Member {
            client: free_port(),
            peer: free_port(),
            child: None,
        };
        let mut etcd = Self {
            folder: tempfile::tempdir().expect("a folder"),
            members: (0..members).map(member).collect(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            durable,
        };
        (0..members).for_each(|number| etcd.spawn(number));
        etcd.wait_well();
        etcd
    }

    pub fn endpoints(&self) -> Vec<String> {
        let members = self.members.iter();
        members
            .map(|m| format!("http://127.0.0.1:{}", m.client))
            .collect()
    }

    pub fn spawn(&mut self, number: usize) {
        let all: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, m)| format!("m{n}=http://127.0.0.1:{}", m.peer))
            .collect();
        let member = &mut self.members[number];
        let (client, peer) = (
            format!("http://127.0.0.1:{}", member.client),
            format!("http://127.0.0.1:{}", member.peer),
        );
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("m{number}.log")))
            .expect("a log");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program())
            .args(["--name", &format!("m{number}")])
            .arg("--data-dir")
            .arg(self.folder.path().join(format!("m{number}")))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &all.join(",")])
            .args((!self.durable).then_some("--unsafe-no-fsync"))
            .args(&self.flags)
            .env("ETCD_UNSUPPORTED_ARCH", "")
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        member.child = Some(command.spawn().expect("start etcd"));
    }

    /// Waits until all members that run have a leader.
    pub fn wait_well(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        let well = |m: &Member| m.child.is_none() || is_well(m.client);
        while !self.members.iter().all(well) {
            let log = std::fs::read_to_string(self.folder.path().join("m0.log"));
            assert!(Instant::now() < until, "etcd does not start: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.members[number].child.take() {
            child.kill().expect("kill etcd");
            child.wait().expect("wait for etcd");
        }
    }

    /// `STOP` or `CONT`.
    pub fn signal(&self, number: usize, signal: &str) {
        let child = self.members[number].child.as_ref().expect("it runs");
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(status.expect("run kill").success());
    }

    /// All data of a member is gone.
    pub fn wipe(&self, number: usize) {
        let data = self.folder.path().join(format!("m{number}"));
        std::fs::remove_dir_all(data).expect("remove the data");
    }
}

/// `GET /health` says so only with a leader.
fn is_well(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(2)));
    let asked = socket.write_all(b"GET /health HTTP/1.0\r\n\r\n");
    let mut text = String::new();
    asked.is_ok() && socket.read_to_string(&mut text).is_ok() && text.contains("\"true\"")
}

impl Drop for Etcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|number| self.kill(number));
    }
}
