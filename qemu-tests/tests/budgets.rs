//! What a host may cost: memory, wake-ups at idle, and the smallest machine that runs a container.
//!
//! Each number stands here with its reason. What the test channel costs, which users' images lack, is
//! taken off the machine's memory.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::registry::Registry;
use qemu_tests::fixtures::web;
use qemu_tests::ledger::DAEMONS;
use qemu_tests::scene::{READY, eventually, pushed};
use qemu_tests::{Disk, Image, Running};
use std::time::Duration;

/// PID 1, in kB: a page saved there is saved on every host for ever.
const PID_ONE: u64 = 1_536;
/// PID 1, network, zygote and engine together, in kB, shared pages counted for each.
const ALL_DAEMONS: u64 = 16 << 10;
/// `MemTotal - MemFree` of a machine of 1 GiB with one idle container, in kB; a bare kernel has 29 MB.
/// Less than the 56 MiB that are promised: what a pull has written would fit into the difference unseen.
const IN_USE: u64 = 52 << 10;
/// The same after `drop_caches`: what is left belongs to programs and the kernel.
const IN_USE_WITHOUT_CACHES: u64 = 48 << 10;
/// The smallest machine for a container, in MiB.
const SMALLEST: u32 = 128;

/// A minute of the guest's, over which wake-ups are counted.
const IDLE: f64 = 60.0;
/// PID 1 feeds a watchdog of 30 s that often, in seconds.
const FEED: f64 = 10.0;
/// A service with `WatchdogSec=30s` tells PID 1 that often that it is alive.
const BEAT: f64 = 15.0;
/// Orphans that PID 1 has to reap, in groups that become its children at once.
const ORPHANS: &str = "i=0; while [ $i -lt 100 ]; do \
     ( j=0; while [ $j -lt 100 ]; do : & j=$((j+1)); done ); i=$((i+1)); done; echo all";
const ORPHANED: Duration = Duration::from_secs(180);

/// A machine with one container, which has served its page; it is at rest.
fn at_rest(test: &Test, profile: &str, memory: u32) -> Result<Running> {
    let image = Image::built(profile)?;
    let name = pushed(web::image(), "web")?;
    let unit = format!(
        "[Container]\nImage={name}\nPublishPort=8080:80\nVolume=web-data:/srv/data\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let config = Config::new().registry(Registry::shared()?.port());
    let disk = Disk::fresh(test, &image, &config.unit("web.container", &unit))?;
    let machine = test.boot(&image).with_disk(&disk).with_watchdog();
    let machine = machine.memory(memory).forward(8080).start()?;
    machine.console().wait("unit:web", READY)?;
    let page = qemu_tests::web::page(machine.port(8080)?, "/", READY)?;
    ensure!(page.contains("Skeg served this page"), "{page}");
    if profile == "test" {
        eventually("the engine's helpers end", READY, || {
            let engine = machine.daemon_pid("engine")?;
            let threads = machine.process_number(engine, "Threads")?;
            ensure!(threads == 1, "{threads} threads");
            Ok(())
        })?;
        // The beat after that gives back what they left in the heap.
        wait_for(&machine, 1.1 * BEAT)?;
    }
    Ok(machine)
}

/// Waits for so many seconds of the guest's clock.
fn wait_for(machine: &Running, seconds: f64) -> Result<f64> {
    let begun = uptime(machine)?;
    loop {
        let left = seconds - (uptime(machine)? - begun);
        if left <= 0.0 {
            return Ok(uptime(machine)? - begun);
        }
        std::thread::sleep(Duration::from_secs_f64(left.max(0.1)));
    }
}

fn uptime(machine: &Running) -> Result<f64> {
    let text = machine.read("/proc/uptime")?;
    let first = text.split_whitespace().next().and_then(|n| n.parse().ok());
    first.with_context(|| format!("no number in {text:?}"))
}

#[test]
fn a_host_with_one_idle_container_is_small_and_sleeps() -> Result<()> {
    let test = Test::named("small-and-asleep")?;
    let machine = at_rest(&test, "test", 1024)?;
    let mut over = Vec::new();
    daemons(&machine, &mut over)?;
    let channel = channel(&machine)?;
    let in_use = machine.memory_in_use()? - channel;
    check(&mut over, "MemTotal - MemFree", in_use, IN_USE);
    sleeps(&machine, &mut over)?;
    machine.agent()?.write("/proc/sys/vm/drop_caches", b"3")?;
    let dropped = machine.memory_in_use()? - channel;
    let name = "the same without caches";
    check(&mut over, name, dropped, IN_USE_WITHOUT_CACHES);
    ensure!(over.is_empty(), "over budget: {}", over.join("; "));
    let refused = machine.refused_calls()?;
    ensure!(refused.is_empty(), "a host that is well: {refused}");
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// What the test channel takes, in kB: its program, which lies in memory as the whole image does, and
/// what it has allocated.
fn channel(machine: &Running) -> Result<u64> {
    let program = machine
        .agent()?
        .stat("/usr/lib/skeg/agent")?
        .size
        .div_ceil(1024);
    let allocated = machine.pages("agent")?.anonymous;
    println!("taken off for the test channel: {program} + {allocated}");
    Ok(program + allocated)
}

fn check(over: &mut Vec<String>, name: &str, found: u64, budget: u64) {
    println!("{name}: {found}, budget {budget}");
    if found > budget {
        over.push(format!("{name}: {found}, not {budget}"));
    }
}

fn daemons(machine: &Running, over: &mut Vec<String>) -> Result<()> {
    let mut sum = 0;
    for name in DAEMONS {
        let pages = machine.pages(name)?;
        println!("{pages}");
        sum += pages.rss;
        if name == "init" {
            check(over, "PID 1", pages.rss, PID_ONE);
        }
    }
    check(over, "all daemons", sum, ALL_DAEMONS);
    Ok(())
}

/// Over a minute nobody wakes but for a watchdog.
fn sleeps(machine: &Running, over: &mut Vec<String>) -> Result<()> {
    let before = DAEMONS.map(|name| wake_ups(machine, name));
    let seconds = wait_for(machine, IDLE)?;
    // One more than fits in, for the minute may begin just before one.
    let times = |period: f64| (seconds / period) as u64 + 1;
    for (name, before) in DAEMONS.into_iter().zip(before) {
        let woken = wake_ups(machine, name)? - before?;
        let allowed = match name {
            "init" => times(FEED) + 2 * times(BEAT),
            "zygote" => 0,
            _ => times(BEAT),
        };
        check(over, &format!("wake-ups of {name}"), woken, allowed);
    }
    Ok(())
}

/// How often the process's threads have gone to sleep so far.
fn wake_ups(machine: &Running, name: &str) -> Result<u64> {
    let pid = machine.daemon_pid(name)?;
    let tasks = machine.agent()?.list(&format!("/proc/{pid}/task"))?;
    let count = |task: String| -> Result<u64> {
        let status = format!("{pid}/task/{task}");
        machine.process_number(&status, "voluntary_ctxt_switches")
    };
    tasks.into_iter().map(count).sum()
}

#[test]
fn ten_thousand_orphans_leave_no_zombie_and_pid_1_as_large_as_it_was() -> Result<()> {
    let test = Test::named("orphans")?;
    let machine = at_rest(&test, "test", 512)?;
    let before = machine.pages("init")?;
    let busybox = format!("/proc/{}/root/bin/busybox", machine.container_pid()?);
    let agent = machine.agent()?;
    let output = agent.run(&[&busybox, "sh", "-c", ORPHANS], b"", ORPHANED)?;
    ensure!(output.stdout.text() == "all\n", "{}", output.stderr.text());
    eventually("the last one is reaped", READY, || {
        let zombies = children_that_ended(&machine)?;
        ensure!(zombies == 0, "{zombies} zombies");
        Ok(())
    })?;
    let after = machine.pages("init")?;
    println!("{before}\n{after}");
    ensure!(after.rss <= PID_ONE, "PID 1 has {} kB", after.rss);
    ensure!(
        after.anonymous <= before.anonymous,
        "PID 1 has grown: {before}, then {after}"
    );
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// Processes of PID 1 that it has not reaped.
fn children_that_ended(machine: &Running) -> Result<usize> {
    let mut zombies = 0;
    for name in machine.agent()?.list("/proc")? {
        if !name.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let stat = machine.read(&format!("/proc/{name}/stat"));
        let is_zombie = |stat: String| stat.contains(") Z 1 ");
        zombies += usize::from(stat.is_ok_and(is_zombie));
    }
    Ok(zombies)
}

#[test]
fn a_container_serves_its_page_in_a_machine_of_128_mib() -> Result<()> {
    let test = Test::named("smallest-machine")?;
    let machine = at_rest(&test, "vm", SMALLEST)?;
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}
