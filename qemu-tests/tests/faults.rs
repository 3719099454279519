//! A host that crashes, hangs, or finds its disk gone, full, slow or read-only: it comes back, says why,
//! and still has the logs.
//!
//! Hangs are made in the programs that ship: see `qemu_tests::hang`.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::{tools, web};
use qemu_tests::protocol::{Bytes, Call};
use qemu_tests::scene::{READY, eventually, pushed};
use qemu_tests::{Disk, Image, Running, timeline};
use std::time::Duration;

/// A watchdog's 30 s, and some for a busy machine to tell.
const RESET: Duration = Duration::from_secs(36);
/// A lockup is seen by the kernel after 24 s, and `panic=` waits for 10.
const PANIC: Duration = Duration::from_secs(50);
/// From the button to the end, on a busy machine.
const OFF: Duration = Duration::from_secs(60);
const PAGE: Duration = Duration::from_secs(60);
/// A batch of the journal waits for 10 s.
const KEPT: Duration = Duration::from_secs(60);
/// As much of a disk as is compared: tables, STATE's first group and the copies behind it.
const START: usize = 200 << 20;

fn fresh(test: &Test, config: &Config) -> Result<(Image, Disk)> {
    let image = Image::built("test")?;
    let disk = Disk::fresh(test, &image, config)?;
    Ok((image, disk))
}

fn web_config() -> Result<Config> {
    let image = pushed(web::image(), "web")?;
    let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
    let unit = format!(
        "[Container]\nImage={image}\nPublishPort=8080:80\nVolume=web-data:/srv/data\n\n\
         [Service]\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    Ok(Config::new().registry(port).unit("web.container", &unit))
}

fn page(machine: &Running) -> Result<()> {
    let page = qemu_tests::web::page(machine.port(8080)?, "/", PAGE)?;
    ensure!(page.contains("Skeg served this page"), "{page}");
    Ok(())
}

/// The host is up, and shows this degraded state with what to do.
fn shows(machine: &Running, state: &str, advice: &str) -> Result<()> {
    let console = machine.console();
    console.wait("service:engine", READY)?;
    console.wait(&format!("degraded: {state}: "), READY)?;
    let status = machine.skeg(&["status"])?;
    let line = status.lines().find(|line| line.contains(state));
    let line = line.with_context(|| format!("no {state} in:\n{status}"))?;
    ensure!(line.contains(advice), "no `{advice}` in {line}");
    Ok(())
}

/// The host's log of a boot once it holds a text.
fn log_with(machine: &Running, words: &[&str], wanted: &str) -> Result<String> {
    let words = [&["logs"], words].concat();
    eventually(wanted, KEPT, || {
        let log = machine.skeg(&words)?;
        let there = log.contains(wanted);
        there
            .then_some(log)
            .with_context(|| format!("{words:?}: no `{wanted}`"))
    })
}

/// Does what hangs the machine, and waits until it was reset in time and is up again.
fn ends_in_a_reset(
    machine: &Running,
    within: Duration,
    hang: impl FnOnce(&Running) -> Result<()>,
) -> Result<()> {
    let events = machine.qmp().now();
    hang(machine)?;
    machine.qmp().wait_event(events, "RESET", within)?;
    let console = machine.console().now();
    machine
        .console()
        .wait_after(console, "service:engine", READY)?;
    Ok(())
}

#[test]
fn a_hang_of_pid_1_or_of_the_kernel_is_ended_by_the_watchdog_in_its_time() -> Result<()> {
    let test = Test::named("hang-with-watchdog")?;
    let (image, disk) = fresh(&test, &Config::new())?;
    let machine = test.boot(&image).with_disk(&disk).with_watchdog().start()?;
    machine.console().wait("service:engine", READY)?;
    let status = machine.skeg(&["status"])?;
    ensure!(
        !status.contains("watchdog-"),
        "a degraded watchdog: {status}"
    );
    ends_in_a_reset(&machine, RESET, Running::freeze_pid_one)?;
    ends_in_a_reset(&machine, RESET, Running::spin_pid_one)?;
    ends_in_a_reset(&machine, RESET, Running::lock_up_kernel)?;
    test.passed();
    Ok(())
}

#[test]
fn without_a_watchdog_the_kernel_s_own_ends_a_hang_and_the_host_says_so() -> Result<()> {
    let test = Test::named("hang-without-watchdog")?;
    let (image, disk) = fresh(&test, &Config::new())?;
    let machine = test.boot(&image).with_disk(&disk).start()?;
    shows(&machine, "watchdog-soft", "no hardware watchdog")?;
    ends_in_a_reset(&machine, RESET, Running::spin_pid_one)?;
    let console = machine.console().now();
    ends_in_a_reset(&machine, PANIC, Running::lock_up_kernel)?;
    let lines = machine.console().lines()[console..].join("\n");
    // Whichever of the two sees it first.
    let told = ["soft lockup", "softdog: Initiating"];
    ensure!(
        told.iter().any(|word| lines.contains(word)),
        "no word of the kernel: {lines}"
    );
    test.passed();
    Ok(())
}

#[test]
fn a_kernel_that_crashed_comes_back_with_the_page_and_its_last_words() -> Result<()> {
    let test = Test::named("crash")?;
    let (image, disk) = fresh(&test, &web_config()?)?;
    let machine = test.boot_firmware(&image).with_disk(&disk);
    let machine = machine.with_watchdog().forward(8080).start()?;
    machine.console().wait("unit:web", READY)?;
    page(&machine)?;
    log_with(&machine, &["-b", "-u", "engine"], "engine: ")?;

    let events = machine.qmp().now();
    machine.agent()?.begin(Call::Write {
        path: "/proc/sysrq-trigger".into(),
        bytes: Bytes(b"c".to_vec()),
    })?;
    machine.qmp().wait_event(events, "RESET", PANIC)?;
    let console = machine.console().now();
    machine.console().wait_after(console, "unit:web", READY)?;
    page(&machine)?;

    let last = log_with(&machine, &["-b", "-1", "-k"], "Kernel panic - not syncing")?;
    for wanted in ["Linux version", "sysrq: Trigger a crash"] {
        ensure!(last.contains(wanted), "no `{wanted}` in {last}");
    }
    let daemons = machine.skeg(&["logs", "-b", "-1"])?;
    for wanted in ["init: reached service:engine", "engine: ", "net: "] {
        ensure!(daemons.contains(wanted), "no `{wanted}` in {daemons}");
    }
    let this = machine.skeg(&["logs", "-k"])?;
    ensure!(!this.contains("Kernel panic"), "of another boot: {this}");
    let variables = "/sys/firmware/efi/efivars";
    for name in machine.agent()?.list(variables)? {
        // Names stay until the next boot; what they name must be gone.
        let dump = name.starts_with("dump-");
        let content = machine.agent()?.read(&format!("{variables}/{name}"));
        let gone = !content.is_ok_and(|bytes| !bytes.is_empty());
        ensure!(!dump || gone, "left in the firmware: {name}");
    }
    test.passed();
    Ok(())
}

#[test]
fn a_state_that_is_missing_or_read_only_is_named_and_stays_as_it_is() -> Result<()> {
    let test = Test::named("state-missing-read-only")?;
    let (image, disk) = fresh(&test, &Config::new())?;
    let machine = test.boot(&image).start()?;
    shows(&machine, "state-missing", "plug its disk in")?;
    // Its kernel's log is there all the same.
    log_with(&machine, &["-k"], "Linux version")?;
    drop(machine);

    let before = disk.read(0, START)?;
    let machine = test.boot(&image).with_read_only_disk(&disk).start()?;
    shows(
        &machine,
        "state-read-only",
        "give the machine its disk writable",
    )?;
    drop(machine);
    ensure!(disk.read(0, START)? == before, "the disk was written");
    test.passed();
    Ok(())
}

#[test]
fn a_full_state_is_named_keeps_what_it_holds_and_can_be_emptied() -> Result<()> {
    let test = Test::named("state-full")?;
    let tools = pushed(tools::image(), "tools")?;
    let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
    let config = Config::new().registry(port).file("hostname", "full\n");
    let (image, disk) = fresh(&test, &config)?;
    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    machine.skeg(&["pull", &tools])?;
    machine.press_power_button()?;
    machine.wait_off(OFF)?;
    disk.fill_state()?;

    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    shows(&machine, "state-full", "skeg rmi")?;
    let name = machine.read("/proc/sys/kernel/hostname")?;
    ensure!(name.trim() == "full", "its configuration is gone: {name}");
    ensure!(
        machine.skeg(&["images"])?.contains("/tools"),
        "its image is gone"
    );
    machine.press_power_button()?;
    machine.wait_off(OFF)?;
    disk.check_file_systems()?;
    let filler = disk.debugfs("stat filler")?;
    ensure!(
        filler.contains("Type: regular"),
        "it made room by itself: {filler}"
    );

    let machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("service:engine", READY)?;
    machine.skeg(&["rmi", &tools])?;
    machine.agent()?.remove("/var/filler")?;
    machine
        .console()
        .wait("no longer degraded: state-full", KEPT)?;
    test.passed();
    Ok(())
}

#[test]
fn a_replay_that_takes_longer_than_the_watchdog_waits_is_waited_for() -> Result<()> {
    let test = Test::named("slow-replay")?;
    let (image, disk) = fresh(&test, &Config::new().file("hostname", "slow\n"))?;
    // 12 MiB of journal, read and written again at 500 KiB a second.
    disk.leave_in_journal(3_000)?;
    let machine = test.boot(&image).with_disk(&disk).with_watchdog();
    let machine = machine.with_slow_disks(500 << 10).start()?;
    let events = machine.qmp().now();
    machine
        .console()
        .wait("] state", Duration::from_secs(240))?;
    let stages = timeline::stages(&machine.console().lines());
    let at = |name: &str| stages.iter().find(|(_, n)| n == name).map(|(at, _)| *at);
    let took = at("state")
        .zip(at("watchdog"))
        .map(|(state, armed)| state - armed);
    ensure!(took.is_some_and(|s| s > 32.0), "no test of it: {stages:?}");
    ensure!(
        machine
            .qmp()
            .wait_event(events, "RESET", Duration::ZERO)
            .is_err(),
        "it was reset"
    );
    test.passed();
    Ok(())
}

#[test]
fn pages_are_served_and_logs_stay_in_order_whatever_the_clock_says() -> Result<()> {
    let test = Test::named("clocks")?;
    let (image, disk) = fresh(&test, &web_config()?)?;
    for (clock, state) in [
        ("1970-01-01T00:00:00", "clock-floor"),
        ("2100-01-01T00:00:00", "clock-suspect"),
    ] {
        let machine = test.boot(&image).with_disk(&disk).clock(clock);
        let mut machine = machine.forward(8080).start()?;
        machine.console().wait("unit:web", READY)?;
        page(&machine)?;
        shows(&machine, state, "the machine's clock sa")?;
        let log = log_with(&machine, &["-b"], "init: reached service:engine")?;
        in_order(&log, 100)?;
        in_order(&machine.skeg(&["logs", "-t", "web"])?, 1)?;
        machine.press_power_button()?;
        machine.wait_off(OFF)?;
    }
    test.passed();
    Ok(())
}

/// Each line begins with a time that is not before that of the line above.
fn in_order(log: &str, least: usize) -> Result<()> {
    let times: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ensure!(times.len() >= least, "{} lines: {log}", times.len());
    for pair in times.windows(2) {
        ensure!(pair[0] <= pair[1], "{} after {}", pair[1], pair[0]);
    }
    Ok(())
}

#[test]
fn a_container_that_ignores_sigterm_delays_the_end_by_its_timeout_and_two_seconds() -> Result<()> {
    let test = Test::named("stubborn-end")?;
    let tools = pushed(tools::image(), "tools")?;
    let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
    let unit = format!(
        "[Container]\nImage={tools}\nExec=stubborn\nStopTimeout=3\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let config = Config::new()
        .registry(port)
        .unit("stubborn.container", &unit);
    let (image, disk) = fresh(&test, &config)?;
    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    machine.console().wait("unit:stubborn", READY)?;
    machine.press_power_button()?;
    machine.wait_off(OFF)?;
    let lines = machine.console().lines();
    let took = lines.iter().find_map(|line| {
        let (_, rest) = line.split_once("power off, ")?;
        rest.split_once(" s after")?.0.parse::<f64>().ok()
    });
    let took = took.context("no line that says how long it took")?;
    println!("off {took} s after it was asked for");
    ensure!((3.0..=5.0).contains(&took), "took {took} s");
    test.passed();
    Ok(())
}
