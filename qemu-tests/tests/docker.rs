//! The real `docker` client against a booted Skeg of profile `vm`, through mutual TLS.
//!
//! One machine, one table: each line is a call of the client, its exit status and what it must say.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::docker::{Certificates, Docker, PORT, Said, said};
use qemu_tests::fixtures::registry::Registry;
use qemu_tests::fixtures::{tools, web};
use qemu_tests::scene::{READY, eventually, pushed};
use qemu_tests::{Disk, Image, Running};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[path = "docker/compose.rs"]
mod compose;
#[path = "docker/objects.rs"]
mod objects;
#[path = "docker/table.rs"]
mod table;

type Check = fn(&Scene) -> Result<()>;

const SOON: Duration = Duration::from_secs(60);

/// A machine with the API, and a client of it.
struct Scene {
    _machine: Running,
    _disk: Disk,
    docker: Docker,
    image: String,
}

fn scene(test: &Test) -> Result<Scene> {
    let tools = pushed(tools::image(), "tools")?;
    pushed(web::image(), "web")?;
    let image = Image::built("vm")?;
    let certificates = Certificates::make(&test.folder().join("docker"))?;
    let config = Config::new().registry(Registry::shared()?.port());
    let disk = Disk::fresh(test, &image, &certificates.tell(config))?;
    let machine = test.boot(&image).with_disk(&disk).forward(PORT).start()?;
    machine.console().wait("service:engine", READY)?;
    let docker = Docker::new(machine.port(PORT)?, &certificates)?;
    eventually("an answer over TLS", SOON, || {
        let said = docker.say(&["version"])?;
        ensure!(said.code == 0, "{}", said.err);
        Ok(())
    })?;
    Ok(Scene {
        _machine: machine,
        _disk: disk,
        docker,
        image: tools,
    })
}

#[test]
fn the_real_client_gets_from_skeg_what_it_would_get_from_dockerd() -> Result<()> {
    let test = Test::named("docker")?;
    let scene = scene(&test)?;
    nobody_without_a_certificate(&scene)?;
    let registry = format!("10.0.2.2:{}/", Registry::shared()?.port());
    let mut all = objects::run(&scene.docker, &registry);
    all.extend(table::run(&scene.docker, &scene.image)?);
    let streams: [(&str, Check); 7] = [
        ("run -it", a_terminal_is_a_terminal),
        (
            "run -i",
            what_is_piped_in_comes_out_and_both_streams_stay_apart,
        ),
        ("logs -f", a_followed_log_ends_with_the_container),
        ("cp", files_come_and_go_as_they_are),
        (
            "start after export",
            a_start_waits_for_who_copies_from_the_stopped_container,
        ),
        ("events", what_happens_is_told),
        ("exec -i", a_process_in_a_container_takes_input),
    ];
    for (name, check) in streams {
        if let Err(e) = check(&scene) {
            all.push(format!("{name}: {e:#}"));
        }
    }
    let folder = tempfile::tempdir()?;
    if let Err(e) = compose::run(&scene.docker, &scene.image, folder.path()) {
        all.push(format!("compose: {e:#}"));
    }
    ensure!(all.is_empty(), "{} failed:\n{}", all.len(), all.join("\n"));
    test.passed();
    Ok(())
}

fn nobody_without_a_certificate(scene: &Scene) -> Result<()> {
    let mut strange = scene.docker.command(&["ps"]);
    let other = tempfile::tempdir()?;
    Certificates::make(other.path())?;
    // The host's authority is known to the stranger: it is the host that refuses.
    let ours = scene.docker.certificates().join("ca.pem");
    std::fs::copy(ours, other.path().join("ca.pem"))?;
    strange.env("DOCKER_CERT_PATH", other.path());
    let refused = said(&mut strange)?;
    ensure!(refused.code != 0, "a stranger was let in: {}", refused.out);
    let mut plain = scene.docker.command(&["ps"]);
    plain
        .env_remove("DOCKER_TLS_VERIFY")
        .env_remove("DOCKER_CERT_PATH");
    let refused = said(&mut plain)?;
    ensure!(refused.code != 0, "plain TCP was answered: {}", refused.out);
    Ok(())
}

fn good(said: Said) -> Result<String> {
    ensure!(said.code == 0, "exit status {}: {}", said.code, said.err);
    Ok(said.out)
}

fn a_terminal_is_a_terminal(scene: &Scene) -> Result<()> {
    let words = [
        "run",
        "-it",
        "--rm",
        &scene.image,
        "sh",
        "-c",
        "tty; stty size; exit 3",
    ];
    let said = said(&mut scene.docker.on_terminal(&words))?;
    ensure!(
        said.code == 3,
        "exit status {}: {}{}",
        said.code,
        said.out,
        said.err
    );
    ensure!(said.out.contains("/dev/pts/0"), "no terminal: {}", said.out);
    Ok(())
}

fn what_is_piped_in_comes_out_and_both_streams_stay_apart(scene: &Scene) -> Result<()> {
    let words = [
        "run",
        "-i",
        "--rm",
        &scene.image,
        "sh",
        "-c",
        "cat; echo aside >&2; exit 4",
    ];
    let mut command = scene.docker.command(&words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let text = "a line\n".repeat(20_000);
    let mut stdin = child.stdin.take().context("no pipe")?;
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer panicked")??;
    ensure!(output.status.code() == Some(4), "{output:?}");
    ensure!(
        output.stdout == text.as_bytes(),
        "{} bytes came back",
        output.stdout.len()
    );
    ensure!(
        output.stderr == b"aside\n",
        "{:?}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn a_followed_log_ends_with_the_container(scene: &Scene) -> Result<()> {
    let docker = &scene.docker;
    good(docker.say(&[
        "run",
        "-d",
        "--name",
        "tick",
        &scene.image,
        "count",
        "8",
        "0",
        "0.3",
    ])?)?;
    let followed = good(docker.say(&["logs", "-f", "tick"])?)?;
    let wanted: String = (1..=8).map(|n| format!("line {n}\n")).collect();
    ensure!(followed == wanted, "followed: {followed:?}");
    let last = good(docker.say(&["logs", "--tail", "2", "tick"])?)?;
    ensure!(last == "line 7\nline 8\n", "tail: {last:?}");
    let stamped = good(docker.say(&["logs", "-t", "--tail", "1", "tick"])?)?;
    let (time, line) = stamped.split_once(' ').context("no time")?;
    ensure!(time.ends_with('Z') && time.len() == 30, "time {time:?}");
    ensure!(line == "line 8\n", "line {line:?}");
    let until = good(docker.say(&["logs", "--since", time, "tick"])?)?;
    ensure!(until == "line 8\n", "since: {until:?}");
    good(docker.say(&["rm", "tick"])?)?;
    Ok(())
}

/// Two mounts of its layers at once would be undefined to the kernel.
fn a_start_waits_for_who_copies_from_the_stopped_container(scene: &Scene) -> Result<()> {
    let docker = &scene.docker;
    // More than all buffers on the way hold.
    let fill = "[ -e /big ] || head -c 67108864 /dev/zero > /big; exec sleep 1000";
    let run = ["run", "-d", "--name", "big", &scene.image, "sh", "-c", fill];
    good(docker.say(&run)?)?;
    let there = ["exec", "big", "stat", "-c", "%s", "/big"];
    eventually("the file is whole", SOON, || {
        let size = good(docker.say(&there)?)?;
        ensure!(size == "67108864\n", "{size}");
        Ok(())
    })?;
    good(docker.say(&["stop", "-t", "0", "big"])?)?;
    let mut export = docker.command(&["export", "big"]);
    let mut export = export.stdout(Stdio::piped()).spawn()?;
    let mut archive = export.stdout.take().context("no pipe")?;
    let mut first = [0; 512];
    archive.read_exact(&mut first)?;
    let mut start = docker
        .command(&["start", "big"])
        .stdout(Stdio::null())
        .spawn()?;
    for _ in 0..3 {
        good(docker.say(&["inspect", "big"])?)?;
    }
    ensure!(
        start.try_wait()?.is_none(),
        "started in the middle of the copy"
    );
    let length = std::io::copy(&mut archive, &mut std::io::sink())?;
    ensure!(length > 67_108_864, "cut after {length} bytes");
    ensure!(
        export.wait()?.success() && start.wait()?.success(),
        "both end well"
    );
    let runs = good(docker.say(&["inspect", "-f", "{{.State.Running}}", "big"])?)?;
    ensure!(runs == "true\n", "{runs}");
    good(docker.say(&["rm", "-f", "big"])?)?;
    Ok(())
}

fn files_come_and_go_as_they_are(scene: &Scene) -> Result<()> {
    let docker = &scene.docker;
    let folder = tempfile::tempdir()?;
    let from = folder.path().join("from");
    std::fs::create_dir_all(from.join("deep"))?;
    std::fs::write(from.join("deep/file"), "inside\n")?;
    let text = |path: &Path| path.display().to_string();
    let run = ["run", "-d", "--name", "box", &scene.image, "sleep", "1000"];
    good(docker.say(&run)?)?;
    good(docker.say(&["cp", &text(&from), "box:/tmp/in"])?)?;
    let read = good(docker.say(&["exec", "box", "cat", "/tmp/in/deep/file"])?)?;
    ensure!(read == "inside\n", "running: {read:?}");
    good(docker.say(&["exec", "box", "ln", "-s", "deep/../deep", "/tmp/in/up"])?)?;
    good(docker.say(&["stop", "-t", "0", "box"])?)?;
    let back = folder.path().join("back");
    good(docker.say(&["cp", "box:/tmp/in", &text(&back)])?)?;
    let read = std::fs::read_to_string(back.join("deep/file"))?;
    ensure!(read == "inside\n", "stopped: {read:?}");
    let link = std::fs::read_link(back.join("up"))?;
    ensure!(
        link == Path::new("deep/../deep"),
        "the link was followed: {link:?}"
    );
    let missing = docker.say(&["cp", "box:/nowhere", &text(folder.path())])?;
    ensure!(
        missing.code == 1 && missing.err.contains("Could not find the file"),
        "{missing:?}"
    );
    let changed = good(docker.say(&["diff", "box"])?)?;
    ensure!(changed.contains("A /tmp/in/deep/file"), "diff: {changed}");
    let archive = folder.path().join("all.tar");
    good(docker.say(&["export", "-o", &text(&archive), "box"])?)?;
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&archive)
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for wanted in ["tmp/in/deep/file", "bin/busybox"] {
        ensure!(listed.lines().any(|l| l == wanted), "export lacks {wanted}");
    }
    good(docker.say(&["rm", "box"])?)?;
    Ok(())
}

fn what_happens_is_told(scene: &Scene) -> Result<()> {
    let docker = &scene.docker;
    let words = [
        "run",
        "--rm",
        "--name",
        "seen",
        &scene.image,
        "sh",
        "-c",
        "exit 6",
    ];
    let ended = docker.say(&words)?;
    ensure!(ended.code == 6, "exit status {}: {}", ended.code, ended.err);
    let words = [
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "container=seen",
        "--format",
        "{{.Action}}",
    ];
    let told = eventually("the end of the container's events", SOON, || {
        let told = good(docker.say(&words)?)?;
        ensure!(told.contains("destroy"), "{told}");
        Ok(told)
    })?;
    let wanted = ["create", "attach", "start", "die", "destroy"];
    let got: Vec<&str> = told.lines().collect();
    ensure!(got == wanted, "told {got:?}");
    Ok(())
}

fn a_process_in_a_container_takes_input(scene: &Scene) -> Result<()> {
    let docker = &scene.docker;
    good(docker.say(&["run", "-d", "--name", "host", &scene.image, "sleep", "1000"])?)?;
    let mut command = docker.command(&[
        "exec",
        "-i",
        "host",
        "sh",
        "-c",
        "read a; echo got $a; exit 9",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child
        .stdin
        .take()
        .context("no pipe")?
        .write_all(b"word\n")?;
    let mut out = String::new();
    child
        .stdout
        .take()
        .context("no pipe")?
        .read_to_string(&mut out)?;
    let code = child.wait()?.code();
    ensure!(out == "got word\n" && code == Some(9), "{out:?} {code:?}");
    good(docker.say(&["rm", "-f", "host"])?)?;
    Ok(())
}
