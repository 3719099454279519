//! A host whose configuration has a key: OpenSSH gets in, docker works over it, and the key of the host stays.
//!
//! What the server makes of each word is in the tests of its crate; here it is PID 1's service.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::docker;
use qemu_tests::scene::READY;
use qemu_tests::{Disk, Image, Running};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const COREOS: &str = "opt/com.coreos/config";

/// OpenSSH's client with a key, for a host at a port of loopback.
struct Client {
    folder: PathBuf,
    port: u16,
}

impl Client {
    fn options(&self) -> Vec<String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let set = [
            format!("Port={}", self.port),
            format!("IdentityFile={}", at("id")),
            format!("UserKnownHostsFile={}", at("known")),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            "ConnectTimeout=20".to_owned(),
        ];
        let set = set.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        ["-F".to_owned(), "/dev/null".to_owned()]
            .into_iter()
            .chain(set)
            .collect()
    }

    fn ssh(&self, words: &[&str]) -> Result<Output> {
        let mut ssh = Command::new("ssh");
        ssh.args(self.options())
            .args(["-l", "core", "127.0.0.1"])
            .args(words);
        ssh.stdin(Stdio::null()).output().context("run ssh")
    }

    fn ok(&self, words: &[&str]) -> Result<String> {
        let output = self.ssh(words)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{words:?}: {}: {error}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The real docker client, which starts the real ssh client.
    fn docker(&self, words: &[&str]) -> Result<String> {
        let shim = self.folder.join("ssh");
        let text = format!(
            "#!/bin/sh\nexec /usr/bin/ssh {} \"$@\"\n",
            self.options().join(" ")
        );
        std::fs::write(&shim, text)?;
        std::fs::set_permissions(&shim, PermissionsExt::from_mode(0o755))?;
        let path = format!("{}:/usr/bin:/bin", self.folder.display());
        let mut docker = Command::new(docker::client()?);
        docker
            .env("PATH", path)
            .env("DOCKER_HOST", "ssh://core@127.0.0.1");
        docker.env("DOCKER_CONFIG", &self.folder);
        let said = docker::said(docker.args(words).stdin(Stdio::null()))?;
        ensure!(said.code == 0, "docker {words:?}: {}", said.err);
        Ok(said.out)
    }
}

fn key(folder: &Path) -> Result<String> {
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-N", "", "-t", "ed25519", "-f"])
        .arg(folder.join("id"));
    ensure!(make.status().context("run ssh-keygen")?.success(), "no key");
    Ok(std::fs::read_to_string(folder.join("id.pub"))?
        .trim()
        .to_owned())
}

/// Until the server says that it listens.
fn listens(machine: &Running) -> Result<()> {
    machine.console().wait("service:engine", READY)?;
    let end = Instant::now() + READY;
    loop {
        let status = machine.read("/run/skeg/status.json")?;
        if status.contains("port 22, SHA256:") {
            break;
        }
        ensure!(Instant::now() < end, "no SSH: {status}");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn a_key_in_the_configuration_lets_its_user_in_and_docker_too() -> Result<()> {
    let test = Test::named("ssh")?;
    let image = Image::built("test")?;
    let folder = tempfile::tempdir()?;
    let document = json!({
        "ignition": {"version": "3.4.0"},
        "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": [key(folder.path())?]}]},
    });
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let boot = || test.boot(&image).with_disk(&disk).forward(22);
    let machine = boot().hand_over(COREOS, &document.to_string()).start()?;
    listens(&machine)?;
    let mut client = Client {
        folder: folder.path().to_owned(),
        port: machine.port(22)?,
    };
    ensure!(client.ok(&["status"])?.contains("engine"), "no status");
    client.ok(&["ps", "-a"])?;
    let inside = client.ok(&["-tt", "version"]);
    ensure!(inside.is_ok(), "on a terminal: {inside:?}");
    ensure!(
        client.docker(&["ps", "-a"])?.starts_with("CONTAINER ID"),
        "no docker"
    );
    ensure!(
        client.docker(&["version"])?.contains("Server:"),
        "no docker"
    );
    let shell = client.ssh(&["bash"])?;
    ensure!(!shell.status.success(), "a shell");
    // The server is nobody: its user, and the one right that port 22 needs.
    let pid = machine.service_pid("ssh")?;
    let status = machine.read(&format!("/proc/{pid}/status"))?;
    for line in [
        "Uid:\t64905\t",
        "Gid:\t64900\t",
        "CapEff:\t0000000000000400",
        "Seccomp:\t2",
    ] {
        ensure!(status.contains(line), "no {line} in {status}");
    }
    machine.console().check_for_oops()?;
    let mut machine = machine;
    machine.press_power_button()?;
    machine.wait_off(READY)?;

    // The client knows the host again, or it would refuse it.
    let machine = boot().start()?;
    listens(&machine)?;
    let known = std::fs::read_to_string(folder.path().join("known"))?;
    let known = known.replace(
        &format!("]:{}", client.port),
        &format!("]:{}", machine.port(22)?),
    );
    std::fs::write(folder.path().join("known"), known)?;
    client.port = machine.port(22)?;
    client.ok(&["status"])?;
    test.passed();
    Ok(())
}

#[test]
fn a_host_without_keys_listens_to_nobody() -> Result<()> {
    let test = Test::named("no-ssh")?;
    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    let status = machine.read("/run/skeg/status.json")?;
    ensure!(
        status.contains("nothing in /etc/ssh/authorized_keys.d"),
        "{status}"
    );
    ensure!(machine.service_pid("ssh").is_err(), "it runs");
    ensure!(
        machine
            .agent()?
            .stat("/var/lib/skeg-ssh/ssh_host_ed25519_key")
            .is_err(),
        "it made itself a key"
    );
    test.passed();
    Ok(())
}
