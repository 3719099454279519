//! The engine's promises, seen by a user of `skeg` on a host of profile `test`.
//!
//! Pids and start times are read from the kernel, not from the engine.

use anyhow::{Context, Result, ensure};
use qemu_tests::Running;
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::scene::{READY, eventually, host, pushed};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;
const SIGSTOP: i32 = 19;

/// The container's line of `ps -a` once it says that it has ended.
fn exited(machine: &Running, name: &str) -> Result<String> {
    eventually("the exit", SOON, || {
        let all = machine.skeg(&["ps", "-a"])?;
        let line = all.lines().find(|line| line.contains(name));
        let line = line.context("`ps -a` does not show it")?.to_owned();
        ensure!(line.to_lowercase().contains("exited"), "still runs: {line}");
        Ok(line)
    })
}

#[test]
fn a_killed_engine_stops_no_container_and_loses_no_line_and_no_exit_code() -> Result<()> {
    let test = Test::named("killed-engine")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    let count = [
        "run", "-d", "--name", "count", &tools, "count", "150", "5", "0.1",
    ];
    machine.skeg(&count)?;
    let pid = machine.container_pid()?;
    let started = machine.start_ticks(pid)?;

    let engine = machine.service_pid("engine")?;
    machine.agent()?.kill(engine, SIGKILL)?;
    eventually("another engine", SOON, || {
        ensure!(machine.service_pid("engine")? != engine, "the same engine");
        machine.skeg(&["ps"])
    })?;
    ensure!(machine.container_pid()? == pid, "another process");
    ensure!(machine.start_ticks(pid)? == started, "another start time");

    let ended = exited(machine, "count")?;
    ensure!(ended.contains("(5)"), "expected exit code 5: {ended}");
    let logs = machine.skeg(&["logs", "count"])?;
    let wanted: Vec<String> = (1..=150).map(|n| format!("line {n}")).collect();
    let got: Vec<&str> = logs.lines().collect();
    ensure!(got == wanted, "lines are missing or doubled:\n{logs}");
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn an_end_that_no_engine_saw_keeps_its_exit_code_and_its_last_lines() -> Result<()> {
    let test = Test::named("unseen-end")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    let count = [
        "run", "-d", "--name", "short", &tools, "count", "30", "9", "0.1",
    ];
    machine.skeg(&count)?;
    let pid = machine.container_pid()?;
    // Stopped, it sees nothing; killed, it never will.
    let engine = machine.service_pid("engine")?;
    machine.agent()?.kill(engine, SIGSTOP)?;
    eventually("the container's end", SOON, || {
        let stat = machine.agent()?.stat(&format!("/proc/{pid}"));
        ensure!(stat.is_err(), "still there");
        Ok(())
    })?;
    machine.agent()?.kill(engine, SIGKILL)?;
    let ended = exited(machine, "short")?;
    ensure!(ended.contains("(9)"), "expected exit code 9: {ended}");
    let logs = machine.skeg(&["logs", "short"])?;
    let wanted: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
    let got: Vec<&str> = logs.lines().collect();
    ensure!(got == wanted, "lines are missing or doubled:\n{logs}");
    test.passed();
    Ok(())
}

#[test]
fn a_malformed_unit_is_named_with_its_line_and_stops_no_other() -> Result<()> {
    let test = Test::named("malformed-unit")?;
    let tools = pushed(tools::image(), "tools")?;
    let wanted_by = "[Install]\nWantedBy=multi-user.target\n";
    let good = format!("[Container]\nImage={tools}\nExec=polite\n{wanted_by}");
    let bad = format!("[Container]\nImage={tools}\nPublishPrt=80:80\n{wanted_by}");
    let config = Config::new()
        .unit("good.container", &good)
        .unit("bad.container", &bad);
    let host = host(&test, config)?;
    let machine = &host.machine;
    machine.console().wait("unit:good", READY)?;
    let status = machine.skeg(&["status"])?;
    for wanted in ["bad.container:3", "PublishPrt", "PublishPort"] {
        ensure!(status.contains(wanted), "no {wanted} in:\n{status}");
    }
    ensure!(
        machine.skeg(&["ps"])?.contains("good"),
        "the good one is down"
    );
    test.passed();
    Ok(())
}

#[test]
fn a_user_runs_looks_at_stops_and_removes_a_container() -> Result<()> {
    let test = Test::named("verbs")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    machine.skeg(&["pull", &tools])?;
    ensure!(machine.skeg(&["images"])?.contains("tools"), "no image");
    machine.skeg(&[
        "run",
        "-d",
        "--name",
        "calm",
        "-v",
        "calm:/data",
        &tools,
        "polite",
    ])?;
    ensure!(machine.skeg(&["ps"])?.contains("calm"), "not in `ps`");
    let network = machine.read("/run/skeg/net/network.json")?;
    ensure!(network.contains("eth0"), "no link of the host: {network}");
    ensure!(
        !network.contains("skv"),
        "a container's link is the host's: {network}"
    );
    let said = machine.skeg(&["exec", "calm", "cat", "/proc/1/comm"])?;
    ensure!(said.trim() == "polite", "exec said {said:?}");
    let failed = machine.run(["/usr/bin/skeg", "exec", "calm", "sh", "-c", "exit 3"])?;
    ensure!(failed.code == 3, "exec's exit code became {}", failed.code);

    machine.skeg(&["stop", "calm"])?;
    let all = machine.skeg(&["ps", "-a"])?;
    ensure!(all.contains("(7)"), "its own exit code is lost: {all}");
    let logs = machine.skeg(&["logs", "calm"])?;
    ensure!(logs.contains("got SIGTERM"), "no SIGTERM: {logs}");
    machine.skeg(&["rm", "calm"])?;
    let all = machine.skeg(&["ps", "-a"])?;
    ensure!(!all.contains("calm"), "still in `ps -a`: {all}");

    let said = machine.skeg(&["run", "--rm", &tools, "echo", "hello"])?;
    ensure!(said.trim() == "hello", "run said {said:?}");
    let unknown = machine.run(["/usr/bin/skeg", "stop", "nobody"])?;
    ensure!(unknown.code != 0, "stopping nobody succeeded");
    let error = unknown.stderr.text();
    ensure!(error.contains("nobody"), "which container? {error}");
    test.passed();
    Ok(())
}

#[test]
fn a_container_that_ignores_sigterm_is_killed_after_its_timeout() -> Result<()> {
    let test = Test::named("stubborn")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    machine.skeg(&["run", "-d", "--name", "mule", &tools, "stubborn"])?;
    eventually("its trap", SOON, || {
        ensure!(
            machine.skeg(&["logs", "mule"])?.contains("ready"),
            "not yet"
        );
        Ok(())
    })?;
    machine.skeg(&["stop", "-t", "2", "mule"])?;
    let all = machine.skeg(&["ps", "-a"])?;
    ensure!(all.contains("(137)"), "expected 128 + SIGKILL: {all}");
    test.passed();
    Ok(())
}

#[test]
fn the_resolver_of_a_running_container_follows_the_host_s_network() -> Result<()> {
    let test = Test::named("resolver")?;
    let tools = pushed(tools::image(), "tools")?;
    let host = host(&test, Config::new())?;
    let machine = &host.machine;
    for name in ["calm", "wilful"] {
        machine.skeg(&["run", "-d", "--name", name, &tools, "polite"])?;
    }
    let servers = |name: &str| machine.skeg(&["exec", name, "cat", "/etc/resolv.conf"]);
    ensure!(
        servers("calm")?.contains("nameserver 10.0.2.3\n"),
        "not the lease's: {}",
        servers("calm")?
    );
    let own = "echo nameserver 192.0.2.9 > /etc/resolv.conf";
    machine.skeg(&["exec", "wilful", "sh", "-c", own])?;
    // As the daemon `net` does it with another lease.
    let lease =
        "echo nameserver 192.0.2.53 > /net/resolv.new && mv /net/resolv.new /net/resolv.conf";
    let net = "/run/skeg/net:/net";
    machine.skeg(&["run", "--rm", "-v", net, &tools, "sh", "-c", lease])?;
    eventually("the other server", SOON, || {
        let now = servers("calm")?;
        ensure!(now.contains("nameserver 192.0.2.53\n"), "{now}");
        ensure!(!now.contains("10.0.2.3"), "{now}");
        Ok(())
    })?;
    let kept = servers("wilful")?;
    ensure!(kept == "nameserver 192.0.2.9\n", "its own is gone: {kept}");
    test.passed();
    Ok(())
}

#[test]
fn what_a_container_tells_while_no_engine_runs_is_heard_by_the_next() -> Result<()> {
    const SECRET: &str = "nobody-shall-read-this";
    let test = Test::named("heard-later")?;
    let tools = pushed(tools::image(), "tools")?;
    let unit = format!(
        "[Container]\nImage={tools}\nExec=ready 15\nNotify=yes\nSecret=db\n\
         HealthCmd=test -s /run/secrets/db\nHealthInterval=1s\n\
         [Service]\nTimeoutStartSec=200s\n[Install]\nWantedBy=multi-user.target\n"
    );
    let config = Config::new()
        .file("skeg/secrets/db", SECRET)
        .unit("late.container", &unit);
    let host = host(&test, config)?;
    let machine = &host.machine;
    eventually("a container that is not ready", READY, || {
        let all = machine.skeg(&["ps"])?;
        ensure!(all.contains("not ready yet"), "{all}");
        Ok(())
    })?;
    let pid = machine.container_pid()?;
    let engine = machine.service_pid("engine")?;
    machine.agent()?.kill(engine, SIGSTOP)?;
    eventually("its word", SOON, || {
        let program = machine.read(&format!("/proc/{pid}/cmdline"))?;
        ensure!(program.contains("100000"), "{program}");
        Ok(())
    })?;
    machine.agent()?.kill(engine, SIGKILL)?;
    eventually("another engine, which has heard it", SOON, || {
        let all = machine.skeg(&["ps"])?;
        ensure!(all.contains("(healthy)"), "{all}");
        Ok(())
    })?;
    ensure!(machine.container_pid()? == pid, "another process");
    let shown = machine.skeg(&["exec", "systemd-late", "ls", "-ln", "/run/secrets/db"])?;
    ensure!(shown.starts_with("-r--------"), "{shown}");
    let mounts = machine.skeg(&[
        "exec",
        "systemd-late",
        "grep",
        "/run/secrets/db",
        "/proc/mounts",
    ])?;
    ensure!(
        mounts.contains("tmpfs") && mounts.contains("ro,"),
        "{mounts}"
    );
    let environment = machine.read(&format!("/proc/{pid}/environ"))?;
    let inspected = machine.skeg(&["inspect", "systemd-late"])?;
    for text in [&environment, &inspected] {
        ensure!(!text.contains(SECRET), "the secret is shown: {text}");
    }
    test.passed();
    Ok(())
}
