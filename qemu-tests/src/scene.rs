//! What many tests begin with and ask: a host of profile `test` with images at hand, its
//! processes as its kernel tells them.
//!
//! It reads `/proc` and cgroups, so that Skeg's own word is not its proof.

use crate::artefacts::Test;
use crate::disk::Config;
use crate::fixtures::layout::Layout;
use crate::fixtures::registry::Registry;
use crate::{Disk, Image, Running};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long a machine may take from power-on to a ready engine, emulated and on a busy host.
pub const READY: Duration = Duration::from_secs(120);

/// A machine, its disk, and the registry it pulls from.
pub struct Host {
    /// The machine.
    pub machine: Running,
    /// Its disk.
    pub disk: Disk,
    /// The registry.
    pub registry: Registry,
}

/// Boots a host of profile `test`, directly, with a ready engine; `config` may add units.
///
/// # Errors
/// A part is missing or the engine does not come up.
pub fn host(test: &Test, config: Config) -> Result<Host> {
    host_of("test", test, config)
}

/// The same from another image with the test channel: `crash` is `test` with crash points.
///
/// # Errors
/// As [`host`].
pub fn host_of(image: &str, test: &Test, config: Config) -> Result<Host> {
    let image = Image::built(image)?;
    let registry = Registry::shared()?;
    let disk = Disk::fresh(test, &image, &config.registry(registry.port()))?;
    let machine = test.boot(&image).with_disk(&disk).forward(8080).start()?;
    machine.console().wait("service:engine", READY)?;
    Ok(Host {
        machine,
        disk,
        registry,
    })
}

/// Pushes an image to the shared registry and gives its name as guests see it.
///
/// # Errors
/// What the registry or skopeo say.
pub fn pushed(layout: Result<Layout>, name: &str) -> Result<String> {
    let registry = Registry::shared()?;
    registry.push(&layout?, name)?;
    Ok(registry.name(name))
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// The deadline, with the last reason.
pub fn eventually<T>(
    what: &str,
    timeout: Duration,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("{what}: not in {} s", timeout.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

impl Running {
    /// Runs `skeg` with these words; its standard output.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn skeg(&self, words: &[&str]) -> Result<String> {
        self.ok([&["/usr/bin/skeg"], words].concat())
    }

    /// What the kernel's log says of calls that filters refused, a line each.
    ///
    /// # Errors
    /// As [`Running::skeg`].
    pub fn refused_calls(&self) -> Result<String> {
        let log = self.skeg(&["logs", "--kernel"])?;
        let refused = log.lines().filter(|line| line.contains("type=1326"));
        Ok(refused.collect::<Vec<_>>().join("\n"))
    }

    /// The first process of a service of Skeg.
    ///
    /// # Errors
    /// It has none.
    pub fn service_pid(&self, service: &str) -> Result<i32> {
        self.first_pid(&format!("/sys/fs/cgroup/skeg.slice/{service}/cgroup.procs"))
    }

    /// The oldest process of the only running container.
    ///
    /// # Errors
    /// There is none, or more than one container.
    pub fn container_pid(&self) -> Result<i32> {
        let slice = "/sys/fs/cgroup/containers.slice";
        let mut found = Vec::new();
        for name in self.agent()?.list(slice)? {
            let procs = format!("{slice}/{name}/cgroup.procs");
            if let Ok(pid) = self.first_pid(&procs) {
                found.push(pid);
            }
        }
        match found[..] {
            [pid] => Ok(pid),
            _ => bail!("expected one running container in {slice}, found processes {found:?}"),
        }
    }

    fn first_pid(&self, procs: &str) -> Result<i32> {
        let text = self.agent()?.read(procs)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let pids = text.lines().filter_map(|line| line.trim().parse().ok());
        pids.min().with_context(|| format!("no process in {procs}"))
    }

    /// When a process started, in ticks since boot (field 22 of `/proc/PID/stat`).
    ///
    /// # Errors
    /// It is gone.
    pub fn start_ticks(&self, pid: i32) -> Result<u64> {
        let stat = self.agent()?.read(&format!("/proc/{pid}/stat"))?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // The name, in brackets, may hold anything: count from behind it.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest);
        let field = rest.and_then(|rest| rest.split_whitespace().nth(19));
        field
            .and_then(|field| field.parse().ok())
            .with_context(|| format!("process {pid}: no start time in {stat:?}"))
    }

    /// All paths below a folder of the guest, sorted.
    ///
    /// # Errors
    /// As the guest's kernel says.
    pub fn tree(&self, folder: &str) -> Result<Vec<String>> {
        let agent = self.agent()?;
        let mut found = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for name in agent.list(&folder)? {
                let path = format!("{folder}/{name}");
                if agent.stat(&path).is_ok_and(|stat| stat.kind == "folder") {
                    open.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}
