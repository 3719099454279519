//! `docker compose` v2: three services that wait for each other, scaled, looked into and taken down.
//!
//! What it must leave behind is nothing.

use anyhow::{Context, Result, ensure};
use qemu_tests::fixtures::docker::{Docker, Said, said};
use qemu_tests::scene::eventually;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const TOKEN: &str = "not-for-the-log";

const FILE: &str = r#"
name: trio
services:
  web:
    image: IMAGE
    command: ["sh", "-c", "mkdir -p /tmp/www; echo from $$(hostname) > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 80"]
    depends_on: {store: {condition: service_healthy}}
    networks: [front, back]
  store:
    image: IMAGE
    command: ["sh", "-c", "mkdir -p /tmp/www; echo +PONG > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 6379"]
    healthcheck: {test: ["CMD-SHELL", "wget -qO - http://127.0.0.1:6379/ | grep -q PONG"], interval: 500ms, timeout: 20s, retries: 30}
    volumes: ["data:/data"]
    networks: {back: {aliases: [redis]}}
  worker:
    image: IMAGE
    command: ["sh", "-c", "wget -qO - http://redis:6379/; wget -qO - http://web/; exec sleep 1000"]
    depends_on: {store: {condition: service_healthy}, web: {condition: service_started}}
    environment: {ROLE: LEVEL}
    secrets: [token]
    networks: [back]
  tool:
    image: IMAGE
    profiles: [tools]
    networks: [back]
    command: ["true"]
networks:
  front:
  back: {internal: true}
volumes:
  data:
secrets:
  token: {environment: TOKEN}
"#;

struct Project<'a> {
    docker: &'a Docker,
    file: String,
}

impl Project<'_> {
    fn call(&self, line: &str) -> Result<Said> {
        let words = ["--ansi", "never", "--progress", "plain", "-f", &self.file];
        let words = words.into_iter().chain(line.split(' '));
        let mut command = self.docker.compose(&words.collect::<Vec<_>>())?;
        said(command.env("TOKEN", TOKEN))
    }

    fn good(&self, line: &str) -> Result<String> {
        let said = self.call(line)?;
        ensure!(
            said.code == 0,
            "compose {line}: exit status {}: {}{}",
            said.code,
            said.out,
            said.err
        );
        Ok(said.out)
    }
}

/// A project's whole life.
pub fn run(docker: &Docker, image: &str, folder: &Path) -> Result<()> {
    let file = folder.join("compose.yaml");
    let write = |level: &str| {
        let text = FILE.replace("IMAGE", image).replace("LEVEL", level);
        std::fs::write(&file, text).context("write the file")
    };
    write("first")?;
    let project = Project {
        docker,
        file: file.display().to_string(),
    };
    project.good("up -d --quiet-pull")?;
    let services = project.good("ps --services")?;
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    ensure!(services == ["store", "web", "worker"], "{services:?}");
    let status = project.good("ps store --format {{.Status}}")?;
    ensure!(status.contains("(healthy)"), "store is {status}");
    let logs = eventually("the worker has talked to both", SOON, || {
        let logs = project.good("logs worker")?;
        ensure!(logs.contains("+PONG") && logs.contains("from "), "{logs}");
        Ok(logs)
    })?;
    ensure!(!logs.contains(TOKEN), "the secret is in the log");
    let read = project.good("exec -T worker cat /run/secrets/token")?;
    ensure!(read == TOKEN, "secret: {read:?}");
    let told = docker.say(&["inspect", "trio-worker-1"])?;
    ensure!(told.code == 0 && !told.out.contains(TOKEN), "{}", told.out);
    project.good("up -d --scale worker=2 --no-recreate")?;
    let two = project.good("ps -q worker")?;
    ensure!(two.lines().count() == 2, "two workers are {two:?}");
    // Made anew: created beside the old one, and given its name.
    write("second")?;
    project.good("up -d -t 0")?;
    let variables = project.good("exec -T worker env")?;
    ensure!(variables.contains("ROLE=second"), "{variables}");
    let tool = project.good("--profile tools run --rm tool echo run")?;
    ensure!(tool.contains("run"), "{tool:?}");
    project.good("down -v -t 0")?;
    for (words, kind) in [
        (
            [
                "ps",
                "-aq",
                "--filter",
                "label=com.docker.compose.project=trio",
            ],
            "containers",
        ),
        (
            [
                "network",
                "ls",
                "-q",
                "--filter=label=com.docker.compose.project=trio",
            ],
            "networks",
        ),
        (
            [
                "volume",
                "ls",
                "-q",
                "--filter=label=com.docker.compose.project=trio",
            ],
            "volumes",
        ),
    ] {
        let left = docker.say(&words)?;
        ensure!(left.out.trim().is_empty(), "{kind} are left: {}", left.out);
    }
    Ok(())
}
