//! Services and containers that misbehave in every way at once: each is bounded, backed off and
//! shown, and all the others go on as before.

use anyhow::{Context, Result, ensure};
use formats::status::{ServiceStatus, Status};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::{tools, web};
use qemu_tests::misbehave::REFUSED;
use qemu_tests::scene::{READY, eventually, pushed};
use qemu_tests::{Disk, Image, Running};
use std::collections::BTreeSet;
use std::time::Duration;

/// Emulated, and with a processor that two programs want whole.
const PATIENCE: Duration = Duration::from_secs(120);
const PAGE: Duration = Duration::from_secs(60);
const GOOD: [&str; 3] = ["net", "zygote", "engine"];
/// What `skeg status` says of each service.
const SHOWN: [&str; 6] = [
    "service-failing:bad-call: ends again and again: exited with 1",
    "service-failing:bad-crash: ends again and again: exited with 1",
    "service-failing:bad-silent: ends again and again: killed by signal 9, not ready in time",
    "service-failing:bad-hang: ends again and again: killed by signal 9, did not feed its watchdog",
    "service-failing:bad-eat: ends again and again: killed by signal 9, out of memory",
    "service-limited:bad-fork: was refused a process by TasksMax=24",
];
/// Restarts within the test's time at most, with pauses that double from 200 ms to 30 s: a service
/// that is not backed off would come to hundreds.
const RESTARTS: u32 = 15;

#[test]
fn services_and_containers_that_misbehave_are_bounded_and_shown_and_harm_no_other() -> Result<()> {
    let test = Test::named("misbehave")?;
    let mut machine = booted(&test)?;
    let before = pids(&machine)?;
    shown(&machine)?;
    told(&machine)?;
    page(&machine)?;
    containers(&machine)?;
    bounded(&machine)?;
    page(&machine)?;
    let after = pids(&machine)?;
    ensure!(
        before == after,
        "daemons before {before:?}, after {after:?}"
    );
    machine.console().check_for_oops()?;
    // What takes no signal delays the way down by its own timeout and no more.
    machine.press_power_button()?;
    machine.wait_off(PATIENCE)?;
    test.passed();
    Ok(())
}

fn booted(test: &Test) -> Result<Running> {
    let image = Image::built("test")?;
    let page = pushed(web::image(), "web")?;
    let tools = pushed(tools::image(), "tools")?;
    let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
    let unit = |image: &str, more: &str| {
        format!(
            "[Container]\nImage={image}\n{more}\n[Service]\nRestart=always\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        )
    };
    // In as much time as an emulated start may take under load.
    let unready = |image: &str, more: &str| {
        unit(image, more).replace(
            "[Service]\n",
            "[Service]\nTimeoutStartSec=20s\nRestartSec=300s\n",
        )
    };
    let config = Config::new()
        .registry(port)
        .unit("web.container", &unit(&page, "PublishPort=8080:80"))
        .unit("loop.container", &unit(&tools, "Exec=count 1 3"))
        .unit(
            "stuck.container",
            &unit(&tools, "Exec=stubborn\nStopTimeout=2"),
        )
        .unit(
            "mute.container",
            &unready(&tools, "Exec=stubborn\nNotify=yes\nStopTimeout=1"),
        )
        .unit(
            "sick.container",
            &unready(
                &tools,
                "Exec=stubborn\nStopTimeout=1\nNotify=healthy\nHealthCmd=sleep 1000\n\
                 HealthInterval=1s\nHealthTimeout=1s",
            ),
        )
        .unit(
            "told.container",
            &unready(&tools, "Exec=ready 1\nNotify=yes"),
        );
    let disk = Disk::fresh(test, &image, &config)?;
    let machine = test
        .boot(&image)
        .with_disk(&disk)
        .kernel_option("skeg.test=misbehave")
        .forward(8080)
        .start()?;
    machine.console().wait("service:engine", READY)?;
    Ok(machine)
}

fn page(machine: &Running) -> Result<()> {
    let page = qemu_tests::web::page(machine.port(8080)?, "/", PAGE)?;
    ensure!(page.contains("Skeg served this page"), "{page}");
    Ok(())
}

fn services(machine: &Running) -> Result<Vec<ServiceStatus>> {
    let text = machine.read("/run/skeg/status.json")?;
    let status: Status = serde_json::from_str(&text).context("read status.json")?;
    Ok(status.services)
}

fn pids(machine: &Running) -> Result<Vec<(String, Option<u32>, u32)>> {
    let all = services(machine)?.into_iter();
    let good = all.filter(|service| GOOD.contains(&service.name.as_str()));
    Ok(good.map(|s| (s.name, s.pid, s.restarts)).collect())
}

/// A person sees which service misbehaves, and how.
fn shown(machine: &Running) -> Result<()> {
    eventually("every one is shown", PATIENCE, || {
        let status = machine.skeg(&["status"])?;
        for line in SHOWN {
            ensure!(status.contains(line), "no `{line}` in:\n{status}");
        }
        Ok(())
    })
}

/// A call that a filter refuses is no riddle: the host's journal names the program and the call, each
/// refusal once, and few of those of one that goes on and on.
fn told(machine: &Running) -> Result<()> {
    let host_name = nix::libc::SYS_sethostname;
    eventually("the refused call is told", PATIENCE, || {
        let journal = machine.skeg(&["logs", "--kernel"])?;
        let mut lines = journal.lines().filter(|line| line.contains("type=1326"));
        let named = |line: &str| {
            line.contains("comm=\"agent\"") && line.contains(&format!("syscall={host_name} "))
        };
        ensure!(lines.any(named), "no word of it in:\n{journal}");
        Ok(())
    })?;
    let journal = machine.skeg(&["logs", "--kernel"])?;
    let lines = journal.lines().filter(|line| line.contains("type=1326"));
    let refused: Vec<(f64, u64)> = lines.map(stamp).collect::<Result<_>>()?;
    let serials: BTreeSet<u64> = refused.iter().map(|(_, serial)| *serial).collect();
    ensure!(serials.len() == refused.len(), "told twice:\n{journal}");
    // Of a thousand in each run: ten in five seconds, as the kernel's clock cuts them.
    let times = || refused.iter().map(|(time, _)| *time);
    let span = times().fold(0.0, f64::max) - times().fold(f64::MAX, f64::min);
    let most = 20.0 + 4.0 * span;
    ensure!(
        (refused.len() as f64) <= most && refused.len() < REFUSED,
        "{} lines in {span} s:\n{journal}",
        refused.len()
    );
    Ok(())
}

/// Time and number of an audit record, `audit(SECONDS:NUMBER)`.
fn stamp(line: &str) -> Result<(f64, u64)> {
    let stamp = line.split_once("audit(").and_then(|(_, rest)| {
        let (time, rest) = rest.split_once(':')?;
        let (serial, _) = rest.split_once(')')?;
        Some((time.parse().ok()?, serial.parse().ok()?))
    });
    stamp.with_context(|| format!("no stamp in {line:?}"))
}

fn bounded(machine: &Running) -> Result<()> {
    for service in services(machine)? {
        let count = service.restarts;
        ensure!(
            count <= RESTARTS,
            "{} restarted {count} times",
            service.name
        );
    }
    // A container's pauses double as a service's do.
    let log = machine.skeg(&["logs", "loop"])?;
    let runs = log.lines().filter(|line| *line == "line 1").count();
    ensure!((1..=20).contains(&runs), "loop ran {runs} times:\n{log}");
    let number = |file: &str| -> Result<u64> {
        let text = machine.read(&format!("/sys/fs/cgroup/skeg.slice/{file}"))?;
        Ok(text.trim().parse()?)
    };
    ensure!(
        number("bad-fork/pids.current")? <= 24,
        "processes of bad-fork"
    );
    let peak = number("bad-eat/memory.peak")?;
    ensure!(peak <= 24 << 20, "bad-eat had {peak} bytes");
    Ok(())
}

fn containers(machine: &Running) -> Result<()> {
    let tools = pushed(tools::image(), "tools")?;
    let greedy = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60";
    let bomb = "b() { b | b & }; b & exec sleep 1000";
    let run = [
        "run",
        "-d",
        "--memory",
        "24M",
        "--pids-limit",
        "50",
        "--name",
    ];
    machine.skeg(&[&run[..], &["bomb", &tools, "sh", "-c", bomb]].concat())?;
    machine.skeg(&[&run[..], &["greedy", &tools, "sh", "-c", greedy]].concat())?;
    eventually("the containers are shown", PATIENCE, || {
        let status = machine.skeg(&["status"])?;
        let says = |name: &str, what: &str| {
            let mut lines = status
                .lines()
                .filter(|line| line.trim_end().ends_with(name));
            let is_said = lines.any(|line| line.contains(what));
            ensure!(is_said, "{name} is not `{what}` in:\n{status}");
            Ok(())
        };
        for late in ["mute.service", "sick.service"] {
            let line = format!("{late}: did not get ready within 20 s");
            ensure!(status.contains(&line), "no `{line}` in:\n{status}");
        }
        says("systemd-mute", "Restarting (not ready in time)")?;
        says("systemd-sick", "Restarting (not ready in time)")?;
        says("systemd-told", "Up ")?;
        says("loop", "Restarting (3)")?;
        says("greedy", "out of memory")?;
        says("bomb", "Up ")?;
        says("stuck", "Up ")?;
        says("web", "Up ")
    })?;
    page(machine)?;
    let told = machine.skeg(&["inspect", "systemd-told"])?;
    ensure!(told.contains("\"restarts\": 0"), "{told}");
    machine.skeg(&["stop", "stuck"])?;
    machine.skeg(&["rm", "-f", "bomb"])?;
    Ok(())
}
