//! An engine that dies at any named step of a container's start or end: the container runs once, its exit
//! code is there, and nothing is left of it. A zygote that dies: the start fails, and the next one does not.
//!
//! How often it ran is told by the container itself, on a folder of the host's.

use anyhow::{Context, Result, ensure};
use qemu_tests::Running;
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::scene::{eventually, host_of, pushed};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// As `runtime::crash` names them.
const POINTS: [&str; 12] = [
    "intended",
    "prepared",
    "cloned",
    "attached",
    "asked",
    "registered",
    "started",
    "recorded",
    "exited",
    "kept",
    "released",
    "cleaned",
];

/// Those at which it is the zygote that dies.
const OF_THE_ZYGOTE: [&str; 2] = ["received", "forked"];
/// Those of an exec: the zygote dies, or the process of it that answers.
const OF_AN_EXEC: [&str; 2] = ["forked", "joined"];

#[test]
fn an_engine_that_dies_at_any_step_starts_nothing_twice_and_loses_no_exit_code() -> Result<()> {
    let test = Test::named("crash-points")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host_of("crash", &test, Config::new())?;
    let machine = &host.machine;
    machine.skeg(&["pull", &tools])?;
    for point in POINTS {
        die_at(machine, &tools, point).with_context(|| format!("killed at {point}"))?;
    }
    for point in OF_THE_ZYGOTE {
        let died = zygote_dies_at(machine, &tools, point);
        died.with_context(|| format!("zygote killed at {point}"))?;
    }
    for point in OF_AN_EXEC {
        let died = exec_dies_at(machine, &tools, point);
        died.with_context(|| format!("exec killed at {point}"))?;
    }
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// What nobody can watch does not run; what runs is watched to its end.
fn exec_dies_at(machine: &Running, image: &str, point: &str) -> Result<()> {
    let name = format!("exec-{point}");
    let volume = "/run/runs:/data";
    let words = ["/usr/bin/skeg", "run", "-d", "--name", &name, "-v", volume];
    machine.ok([&words[..], &[image, "sleep", "3600"]].concat())?;
    let exec = |mark: &str| {
        let program = format!("echo ran >> /data/{name}-{mark}; exit 7");
        machine.run(["/usr/bin/skeg", "exec", &name, "sh", "-c", &program])
    };
    let ran = |mark: &str| machine.read(&format!("/run/runs/{name}-{mark}"));
    let order = "/run/skeg/crash-at";
    machine.agent()?.write(order, point.as_bytes())?;
    let first = exec("first")?;
    ensure!(machine.agent()?.stat(order).is_err(), "nobody died");
    eventually("the container's own process alone", SOON, || {
        let main = machine.container_pid()?;
        let cgroup = machine.read(&format!("/proc/{main}/cgroup"))?;
        let path = cgroup.trim().trim_start_matches("0::");
        let all = machine.read(&format!("/sys/fs/cgroup{path}/cgroup.procs"))?;
        ensure!(all.lines().count() == 1, "{all}");
        Ok(())
    })?;
    let why = first.stderr.text();
    match first.code {
        // The answer had come before the helper was killed: its end is known, its code is not.
        7 | 137 => ensure!(ran("first")? == "ran\n", "{why}"),
        _ => ensure!(why.contains("zygote") && ran("first").is_err(), "{why}"),
    }
    eventually("the next exec", SOON, || {
        let again = exec("again")?;
        ensure!(again.code == 7, "{}: {}", again.code, again.stderr.text());
        Ok(())
    })?;
    machine.skeg(&["rm", "-f", &name])?;
    nothing_left(machine)
}

fn die_at(machine: &Running, image: &str, point: &str) -> Result<()> {
    let engine = machine.service_pid("engine")?;
    let order = "/run/skeg/crash-at";
    machine.agent()?.write(order, point.as_bytes())?;
    let program = format!("echo ran >> /data/{point}; exit 7");
    let volume = "/run/runs:/data";
    // Its connection breaks with the engine; what became of the container is asked for afterwards.
    let _ = machine.run([
        "/usr/bin/skeg",
        "run",
        "-d",
        "--name",
        point,
        "-v",
        volume,
        image,
        "sh",
        "-c",
        &program,
    ])?;
    eventually("the engine's death at that step", SOON, || {
        ensure!(machine.agent()?.stat(order).is_err(), "not yet");
        ensure!(machine.service_pid("engine")? != engine, "the same engine");
        Ok(())
    })?;
    eventually("the exit code", SOON, || {
        let all = machine.skeg(&["ps", "-a"])?;
        let line = all.lines().find(|line| line.contains(point));
        let line = line.context("`ps -a` does not show it")?;
        ensure!(line.to_lowercase().contains("exited (7)"), "{line}");
        Ok(())
    })?;
    let runs = machine.read(&format!("/run/runs/{point}"))?;
    ensure!(runs == "ran\n", "it ran {} times", runs.lines().count());
    nothing_left(machine)
}

fn zygote_dies_at(machine: &Running, image: &str, point: &str) -> Result<()> {
    let zygote = machine.service_pid("zygote")?;
    machine
        .agent()?
        .write("/run/skeg/crash-at", point.as_bytes())?;
    let program = format!("echo ran >> /data/{point}; exit 7");
    let run = |name: &str| {
        let volume = ["-v", "/run/runs:/data"];
        let words = [&["/usr/bin/skeg", "run", "--name", name], &volume[..]].concat();
        machine.run([&words[..], &[image, "sh", "-c", &program]].concat())
    };
    let failed = run(point)?;
    let why = failed.stderr.text();
    ensure!(
        failed.code == 125 && why.contains("zygote"),
        "{}: {why}",
        failed.code
    );
    eventually("another zygote", SOON, || {
        ensure!(machine.service_pid("zygote")? != zygote, "the same zygote");
        Ok(())
    })?;
    nothing_left(machine)?;
    let again = run(&format!("{point}-again"))?;
    ensure!(again.code == 7, "{}: {}", again.code, again.stderr.text());
    let runs = machine.read(&format!("/run/runs/{point}"))?;
    ensure!(runs == "ran\n", "it ran {} times", runs.lines().count());
    Ok(())
}

fn nothing_left(machine: &Running) -> Result<()> {
    eventually("nothing left", SOON, || {
        let slots = machine.read("/run/skeg/status.json")?;
        ensure!(slots.contains("\"containers\":0"), "a slot: {slots}");
        let slice = "/sys/fs/cgroup/containers.slice";
        for name in machine.agent()?.list(slice)? {
            let is_cgroup = machine.agent()?.stat(&format!("{slice}/{name}"))?.kind == "folder";
            ensure!(!is_cgroup, "a cgroup: {name}");
        }
        Ok(())
    })
}
