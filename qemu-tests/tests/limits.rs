//! The limits of a container hold on the real kernel: memory and processes.
//!
//! Beside the container that goes too far stand the host and another container, and both must stay
//! as they are.

use anyhow::{Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::scene::{Host, eventually, host, pushed};
use std::time::{Duration, Instant};

/// An answer of a machine that is not held up, emulated and on a busy host.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Fills a file in memory beyond any small limit.
const GREEDY: &str = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
/// Every process makes another two, for ever; the first one stays, whatever becomes of them.
const BOMB: &str = "b() { b | b & }; b & exec sleep 1000";

#[test]
fn a_container_s_limits_hold_and_leave_the_host_and_the_others_alone() -> Result<()> {
    let test = Test::named("limits")?;
    let image = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let other = ["run", "-d", "--name", "other", &image, "sleep", "1000"];
    host.machine.skeg(&other)?;
    let engine = host.machine.service_pid("engine")?;
    memory(&host, &image)?;
    still_well(&host, engine)?;
    processes(&host, &image, engine)?;
    still_well(&host, engine)?;
    host.machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

fn memory(host: &Host, image: &str) -> Result<()> {
    let limits = ["--memory", "24M"];
    let words = [&["run", "--name", "greedy"], &limits[..], &[image]].concat();
    let command = [&["/usr/bin/skeg"], &words[..], &["sh", "-c", GREEDY]].concat();
    let output = host.machine.run(command)?;
    ensure!(
        output.code != 0,
        "60 MiB fit into 24: {}",
        output.stderr.text()
    );
    let events = host
        .machine
        .read("/sys/fs/cgroup/containers.slice/memory.events")?;
    let killed = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    ensure!(killed.is_some_and(|n| n != "0"), "nothing killed: {events}");
    Ok(())
}

fn processes(host: &Host, image: &str, engine: i32) -> Result<()> {
    let limits = ["--pids-limit", "50"];
    let words = [&["run", "-d", "--name", "bomb"], &limits[..], &[image]].concat();
    host.machine
        .skeg(&[&words[..], &["sh", "-c", BOMB]].concat())?;
    let slice = "/sys/fs/cgroup/containers.slice";
    let names = host.machine.agent()?.list(slice)?;
    let number = |name: &str, file: &str| -> Result<String> {
        host.machine.read(&format!("{slice}/{name}/{file}"))
    };
    let bomb = names
        .iter()
        .find(|name| number(name, "pids.max").is_ok_and(|max| max.trim() == "50"));
    let Some(bomb) = bomb else {
        anyhow::bail!("no cgroup of 50 processes among {names:?}");
    };
    eventually("the bomb reaches its limit", AT_ONCE, || {
        let events = number(bomb, "pids.events")?;
        ensure!(!events.contains("max 0\n"), "never refused: {events}");
        Ok(())
    })?;
    let now: u32 = number(bomb, "pids.current")?.trim().parse()?;
    ensure!(now <= 50, "{now} processes");
    still_well(host, engine)?;
    host.machine.skeg(&["rm", "-f", "bomb"])?;
    let left = host.machine.agent()?.list(slice)?;
    ensure!(!left.contains(bomb), "its cgroup is left: {left:?}");
    Ok(())
}

/// The engine is the same process, and another container runs and answers.
fn still_well(host: &Host, engine: i32) -> Result<()> {
    let begun = Instant::now();
    let said = host.machine.skeg(&["exec", "other", "echo", "here"])?;
    let took = begun.elapsed();
    ensure!(said.trim() == "here", "the other container says {said:?}");
    ensure!(took < AT_ONCE, "the other container took {took:?}");
    let now = host.machine.service_pid("engine")?;
    ensure!(now == engine, "the engine has died: {engine}, now {now}");
    // PID 1 tells of itself that nothing is missing.
    let status = host.machine.read("/run/skeg/status.json")?;
    ensure!(!status.contains("cgroups-incomplete"), "{status}");
    Ok(())
}
