//! A daemon on a port of loopback, with keys made for the test, and clients of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Tells how it was called; a few words do something.
const SKEG: &str = r#"#!/bin/sh
case "$1" in
cat) exec cat ;;
fail) echo "it failed" >&2; exit "$2" ;;
sleeps) echo $$; exec sleep 1000 ;;
tty) test -t 0 && test -t 1 && echo "on a terminal" ;;
*) printf 'skeg|'; printf '%s|' "$@"; echo ;;
esac
"#;
/// What the docker client asks for before it lists containers, and the list.
const CONTAINERS: &str = r#"[{"Id":"abcdef0123456789","Names":["/a-container"],"Image":"i","Command":"c","Created":1,"Ports":[],"Labels":{},"State":"running","Status":"Up","NetworkSettings":{"Networks":{}},"Mounts":[]}]"#;

pub struct Host {
    folder: tempfile::TempDir,
    daemon: Child,
    port: u16,
}

impl Host {
    /// Users and the names of their keys; lines of group(5).
    pub fn start(users: &[(&str, &str)], group: &str) -> Self {
        let users: Vec<_> = users.iter().map(|(user, key)| (*user, *key, "")).collect();
        Self::start_with(&users, group)
    }

    /// With options before the key.
    pub fn start_with(users: &[(&str, &str, &str)], group: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, kind) in [
            ("id", "ed25519"),
            ("other", "ed25519"),
            ("rsa", "rsa"),
            ("ecdsa", "ecdsa"),
        ] {
            if name == "other" || users.iter().any(|(_, key, _)| *key == name) || name == "id" {
                make_key(&at(name), kind);
            }
        }
        std::fs::create_dir(at("keys")).unwrap();
        std::fs::create_dir(at("state")).unwrap();
        for (user, key, options) in users {
            let public = std::fs::read_to_string(at(&format!("{key}.pub"))).unwrap();
            let line = format!("{options} {public}");
            std::fs::write(at("keys").join(user), line.trim_start()).unwrap();
        }
        std::fs::write(at("group"), group).unwrap();
        std::fs::write(at("skeg"), SKEG).unwrap();
        std::fs::set_permissions(at("skeg"), PermissionsExt::from_mode(0o755)).unwrap();
        let (daemon, port) = daemon(folder.path());
        Self {
            folder,
            daemon,
            port,
        }
    }

    /// What becomes of a daemon without a user that has keys, and what it says.
    pub fn without_keys() -> (ExitStatus, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_skeg-ssh"))
            .args(["--keys", "/nonexistent", "--listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        (output.status, text(&output.stderr))
    }

    pub fn restart(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        (self.daemon, self.port) = daemon(self.folder.path());
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Options of OpenSSH's programs.
    pub fn options(&self, key: &str) -> Vec<String> {
        let set = [
            format!("Port={}", self.port),
            format!("IdentityFile={}", self.at(key).display()),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=no".to_owned(),
            format!("UserKnownHostsFile={}", self.at("known").display()),
            "LogLevel=INFO".to_owned(),
        ];
        let all = set.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        ["-F".to_owned(), "/dev/null".to_owned()]
            .into_iter()
            .chain(all)
            .collect()
    }

    pub fn ssh(&self, user: &str, words: &[&str]) -> Command {
        self.ssh_with("id", user, words)
    }

    pub fn ssh_with(&self, key: &str, user: &str, words: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(self.options(key)).args(["-l", user]);
        // Options may follow the host's name, a command may not.
        ssh.arg("127.0.0.1").args(words).stdin(Stdio::null());
        ssh
    }

    /// `status`, from another address of loopback.
    pub fn ssh_from(&self, address: &str, key: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(self.options(key))
            .args(["-l", "core", "-b", address]);
        ssh.args(["127.0.0.1", "status"]).stdin(Stdio::null());
        ssh
    }

    /// As much of Docker's API as `docker ps` asks for.
    pub fn docker_api(&self) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(self.at("docker.sock")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(BufReader::new(stream)));
            }
        })
    }

    /// The host's key, as known_hosts has it.
    pub fn key(&self) -> String {
        let _ = std::fs::remove_file(self.at("known"));
        ok(&self.ssh("core", &["status"]).output().unwrap());
        let known = std::fs::read_to_string(self.at("known")).unwrap();
        known.split_whitespace().skip(1).collect()
    }

    /// The daemon's resident memory, kB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A bare connection from that address.
    pub fn connect(&self, from: &str) -> Option<TcpStream> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let address: Ipv4Addr = from.parse().unwrap();
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((address, 0))).unwrap();
        connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).ok()?;
        Some(socket.into())
    }

    /// Whether the daemon says its name to whoever calls from there.
    pub fn greets(&self, from: &str) -> bool {
        let Some(mut stream) = self.connect(from) else {
            return false;
        };
        let mut first = [0];
        matches!(stream.read(&mut first), Ok(1))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn make_key(path: &Path, kind: &str) {
    let bits = if kind == "rsa" { "2048" } else { "256" };
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"])
        .arg(path);
    assert!(make.status().unwrap().success());
}

fn daemon(folder: &Path) -> (Child, u16) {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_skeg-ssh"));
    daemon.args([
        "--listen",
        "127.0.0.1:0",
        "--keys",
        &at("keys"),
        "--group",
        &at("group"),
    ]);
    daemon.args([
        "--state",
        &at("state"),
        "--skeg",
        &at("skeg"),
        "--docker",
        &at("docker.sock"),
    ]);
    let mut child = daemon.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let port = loop {
        let line = lines.next().expect("the daemon listens").unwrap();
        if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
            break rest.split(' ').next().unwrap().parse().unwrap();
        }
    };
    // Its log must be read, or it would block.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (child, port)
}

fn answer(mut stream: BufReader<std::os::unix::net::UnixStream>) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let is_list = head
            .lines()
            .next()
            .unwrap_or("")
            .contains("/containers/json");
        let body = if is_list { CONTAINERS } else { "OK" };
        let kind = if is_list {
            "application/json"
        } else {
            "text/plain"
        };
        let body = if head.starts_with("HEAD") { "" } else { body };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nOSType: linux\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Waits, with a bound that holds on a loaded machine.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn ok(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        text(&output.stderr)
    );
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
