//! Writers go on while the engine is killed under them, and everything that they wrote is there.
//!
//! What was written is told by the writers themselves, on a folder of the host's that no engine touches.

use anyhow::{Context, Result, ensure};
use qemu_tests::Running;
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::scene::{eventually, host, pushed};
use qemu_tests::writer::Tally;
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;
/// The agent's program, which is the writers' too.
const PROGRAM: &str = "/usr/lib/skeg/agent";
/// Lines a second that each writer aims at; none may fall below [`LEAST`].
const AIM: &str = "1050";
const LEAST: u64 = 1000;
/// PID 1 doubles the pause before each restart, until an engine has run for [`STABLE`].
const IN_A_ROW: u32 = 6;
const STABLE: f64 = 31.0;

#[test]
fn a_few_writers_lose_no_line_to_an_engine_that_is_killed_again_and_again() -> Result<()> {
    trial("few-writers", 4, 6)
}

/// Four rounds of it are 200 kills.
#[cfg(feature = "soak")]
#[test]
fn twenty_writers_lose_no_line_to_an_engine_that_is_killed_fifty_times() -> Result<()> {
    trial("twenty-writers", 20, 50)
}

fn trial(name: &str, writers: usize, kills: u32) -> Result<()> {
    let test = Test::named(name)?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    let names: Vec<String> = (1..=writers).map(|n| format!("w{n}")).collect();
    for name in &names {
        start(machine, &tools, name)?;
    }
    let before = processes(machine)?;
    ensure!(before.len() == writers, "not all run: {before:?}");
    let pipes: Vec<String> = before
        .values()
        .map(|(pid, _)| format!("/proc/{pid}/fd/1"))
        .collect();
    let amid = kill_again_and_again(machine, &pipes, kills)?;
    let after = processes(machine)?;
    ensure!(before == after, "other processes: {before:?}, {after:?}");
    machine.agent()?.write("/run/writers/stop", b"")?;
    let slowest = names
        .iter()
        .map(|name| check(machine, name))
        .collect::<Result<Vec<u64>>>()?
        .into_iter()
        .min();
    println!(
        "{writers} writers, the slowest with {} lines a second; {kills} kills, {amid} of them with data in the pipes",
        slowest.unwrap_or(0)
    );
    ensure!(
        amid * 5 >= kills * 4,
        "only {amid} of {kills} kills with data"
    );
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

fn start(machine: &Running, image: &str, name: &str) -> Result<()> {
    let volume = format!("{PROGRAM}:/writer:ro");
    let tally = format!("/data/{name}");
    machine.skeg(&[
        "run",
        "-d",
        "--name",
        name,
        "-v",
        &volume,
        "-v",
        "/run/writers:/data",
        image,
        "/writer",
        "write",
        AIM,
        "/data/stop",
        &tally,
    ])?;
    Ok(())
}

/// Pid and start time of each container's process, by the container's id.
fn processes(machine: &Running) -> Result<BTreeMap<String, (i32, u64)>> {
    let slice = "/sys/fs/cgroup/containers.slice";
    let mut found = BTreeMap::new();
    for id in machine.agent()?.list(slice)? {
        let Ok(procs) = machine.read(&format!("{slice}/{id}/cgroup.procs")) else {
            continue;
        };
        let pids: Vec<i32> = procs.lines().filter_map(|p| p.parse().ok()).collect();
        ensure!(pids.len() == 1, "expected one process in {id}: {pids:?}");
        found.insert(id, (pids[0], machine.start_ticks(pids[0])?));
    }
    Ok(found)
}

/// Kills engines, settled ones and such as have just begun; how many while there was data in the pipes.
fn kill_again_and_again(machine: &Running, pipes: &[String], kills: u32) -> Result<u32> {
    let mut amid = 0;
    let mut engine = machine.service_pid("engine")?;
    for kill in 1..=kills {
        let pending = machine.agent()?.kill_amid(engine, SIGKILL, pipes)?;
        amid += u32::from(pending.iter().any(|bytes| *bytes > 0));
        engine = eventually("another engine", SOON, || {
            let new = machine.service_pid("engine")?;
            ensure!(new != engine, "the same engine");
            Ok(new)
        })?;
        if kill % IN_A_ROW == 0 {
            eventually("an engine that stays", SOON, || settled(machine, engine))?;
        } else if kill % 2 == 0 {
            eventually("an engine that answers", SOON, || machine.skeg(&["ps"]))?;
        } else {
            // Somewhere in its start: another place each time.
            std::thread::sleep(Duration::from_millis(u64::from(kill) * 379 % 1400));
        }
    }
    eventually("an engine that answers", SOON, || machine.skeg(&["ps"]))?;
    Ok(amid)
}

fn settled(machine: &Running, engine: i32) -> Result<()> {
    let uptime = machine.read("/proc/uptime")?;
    let uptime = uptime.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    let started = machine.start_ticks(engine)? as f64 / 100.0;
    let age = uptime.context("no uptime")? - started;
    ensure!(age > STABLE, "has run for {age} s only");
    Ok(())
}

/// Compares what the engine has of a writer with what the writer wrote; its lines a second.
fn check(machine: &Running, name: &str) -> Result<u64> {
    let written = eventually("a writer's tally", SOON, || {
        let text = machine.read(&format!("/run/writers/{name}"))?;
        Ok(serde_json::from_str::<Tally>(&text)?)
    })?;
    eventually("the exit", SOON, || {
        let all = machine.skeg(&["ps", "-a"])?;
        let line = all
            .lines()
            .find(|line| line.split_whitespace().any(|word| word == name));
        let line = line.context("`ps -a` does not show it")?;
        ensure!(line.to_lowercase().contains("exited (0)"), "{line}");
        Ok(())
    })?;
    let words = [PROGRAM, "read-back", name];
    let output = machine.agent()?.run(&words, b"", SOON)?;
    ensure!(output.code == 0, "{}", output.stderr.text());
    let read: Tally = serde_json::from_str(&output.stdout.text())?;
    ensure!(read.broken.is_none(), "{name}: {read:?}, wrote {written:?}");
    ensure!(
        (read.lines, &read.sha256) == (written.lines, &written.sha256),
        "{name} wrote {written:?}, the engine has {read:?}"
    );
    let rate = written.lines * 1000 / written.took_ms.max(1);
    ensure!(rate >= LEAST, "{name} wrote {rate} lines a second only");
    Ok(rate)
}
