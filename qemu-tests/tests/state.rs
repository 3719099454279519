//! Faults of the host: its disk has grown, its file system is ill, its clock is wrong, it hangs.
//!
//! Each time the host is up, says what it found, and has formatted nothing.

use anyhow::{Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::scene::READY;
use qemu_tests::{Disk, Image, Running, timeline};
use std::time::Duration;

const GIB: u64 = 1 << 30;
/// A partition table, with the protective MBR at the disk's start.
const TABLE: usize = 34 * 512;
/// As much of STATE as is compared: more than its first group and the copies behind it.
const START: usize = 200 << 20;

fn fresh(test: &Test) -> Result<(Image, Disk)> {
    let image = Image::built("test")?;
    let config = Config::new().file("hostname", "faulty\n");
    let disk = Disk::fresh(test, &image, &config)?;
    Ok((image, disk))
}

/// The host is up, and shows this degraded state.
fn shows(machine: &Running, state: &str) -> Result<()> {
    let console = machine.console();
    console.wait("service:engine", READY)?;
    console.wait(&format!("degraded: {state}: "), READY)?;
    let status = machine.skeg(&["status"])?;
    ensure!(status.contains(state), "no {state} in:\n{status}");
    Ok(())
}

/// The configuration on STATE was found.
fn knows_its_name(machine: &Running) -> Result<()> {
    let name = machine.read("/proc/sys/kernel/hostname")?;
    ensure!(name.trim() == "faulty", "expected `faulty`, found {name}");
    Ok(())
}

fn has_grown(machine: &Running, from: usize) -> bool {
    let lines = machine.console().lines();
    let stages = timeline::stages(&lines[from..]);
    stages.iter().any(|(_, name)| name == "state-grown")
}

#[test]
fn state_grows_with_its_disk_once_and_a_hang_is_ended_without_hardware() -> Result<()> {
    let test = Test::named("state-grows")?;
    let (image, disk) = fresh(&test)?;
    disk.enlarge(64 * GIB)?;
    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    shows(&machine, "watchdog-soft")?;
    ensure!(has_grown(&machine, 0), "no stage `state-grown`");
    let sectors: u64 = machine.read("/sys/class/block/vda2/size")?.trim().parse()?;
    ensure!(
        sectors * 512 > 63 * GIB,
        "the kernel sees {sectors} sectors"
    );
    let panics = machine.read("/proc/sys/kernel/softlockup_panic")?;
    ensure!(panics.trim() == "1", "softlockup_panic is {panics}");

    let (console, events) = (machine.console().now(), machine.qmp().now());
    let agent = machine.agent()?;
    agent.write("/sys/fs/cgroup/skeg.slice/net/cgroup.procs", b"1")?;
    agent.write("/sys/fs/cgroup/skeg.slice/net/cgroup.freeze", b"1")?;
    machine
        .qmp()
        .wait_event(events, "RESET", Duration::from_secs(90))?;
    machine
        .console()
        .wait_after(console, "service:engine", READY)?;
    ensure!(!has_grown(&machine, console), "it grew a second time");
    knows_its_name(&machine)?;
    machine.press_power_button()?;
    machine.wait_off(Duration::from_secs(30))?;
    ensure!(disk.state_length()? > 63 * GIB, "the table was not grown");
    disk.check_file_systems()?;
    test.passed();
    Ok(())
}

#[test]
fn growth_that_was_cut_after_any_step_is_completed_by_the_next_boot() -> Result<()> {
    let test = Test::named("state-growth-cut")?;
    let (image, small) = fresh(&test)?;
    let size = 64 * GIB;
    small.enlarge(size)?;
    let grown = small.copy(&test)?;
    grows(&test, &image, &grown)?;
    let tables = |disk: &Disk| -> Result<[Vec<u8>; 2]> {
        Ok([disk.read(0, TABLE)?, disk.read(size - TABLE as u64, TABLE)?])
    };
    let [first, last] = tables(&grown)?;
    let old = small.read(0, TABLE)?;

    // The copy at the end is written; the first one is old, half written, whole.
    small.write(size - TABLE as u64, &last)?;
    let torn = [&first[..512], &old[512..1024], &first[1024..]].concat();
    for start in [old, torn, first.clone()] {
        let cut = small.copy(&test)?;
        cut.write(0, &start)?;
        grows(&test, &image, &cut)?;
        ensure!(
            tables(&cut)? == [first.clone(), last.clone()],
            "other tables"
        );
        cut.check_file_systems()?;
    }
    test.passed();
    Ok(())
}

fn grows(test: &Test, image: &Image, disk: &Disk) -> Result<()> {
    let mut machine = test.boot(image).with_disk(disk).start()?;
    machine.console().wait("] state-grown", READY)?;
    machine.console().wait("service:engine", READY)?;
    machine.press_power_button()?;
    machine.wait_off(Duration::from_secs(30))
}

#[test]
fn reported_errors_are_repaired_and_a_clock_at_1970_starts_at_the_floor() -> Result<()> {
    let test = Test::named("errors-in-1970")?;
    let (image, disk) = fresh(&test)?;
    disk.debugfs("set_super_value state 2")?;
    let machine = test.boot(&image).with_disk(&disk);
    let mut machine = machine.clock("1970-01-01T00:00:00").start()?;
    shows(&machine, "state-repaired")?;
    shows(&machine, "clock-floor")?;
    knows_its_name(&machine)?;
    machine.press_power_button()?;
    machine.wait_off(Duration::from_secs(30))?;
    disk.check_file_systems()?;
    let kept: u64 = disk.debugfs("cat lib/skeg-time")?.trim().parse()?;
    ensure!(kept > 1_700_000_000, "kept {kept}");
    test.passed();
    Ok(())
}

#[test]
fn a_wiped_superblock_comes_back_and_a_clock_at_2100_is_suspect() -> Result<()> {
    let test = Test::named("wiped-in-2100")?;
    let (image, disk) = fresh(&test)?;
    disk.spoil_state(1024, &[0; 1024])?;
    let machine = test.boot(&image).with_disk(&disk);
    let mut machine = machine.clock("2100-01-01T00:00:00").start()?;
    shows(&machine, "state-repaired")?;
    shows(&machine, "clock-suspect")?;
    knows_its_name(&machine)?;
    machine.press_power_button()?;
    machine.wait_off(Duration::from_secs(30))?;
    disk.check_file_systems()?;
    let kept = disk.debugfs("cat lib/skeg-time")?;
    ensure!(kept.is_empty(), "a suspect time was kept: {kept}");
    test.passed();
    Ok(())
}

#[test]
fn what_cannot_be_repaired_is_left_as_it_is_and_the_host_runs() -> Result<()> {
    let test = Test::named("beyond-repair")?;
    let (image, disk) = fresh(&test)?;
    // A feature that neither the kernel nor e2fsck knows, as a later release might use.
    disk.debugfs("feature FEATURE_I30")?;
    let before = disk.read_state(0, START)?;
    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    shows(&machine, "state-damaged")?;
    let mounts = machine.read("/proc/mounts")?;
    ensure!(mounts.contains("tmpfs /var tmpfs"), "{mounts}");
    machine.cut_power();
    ensure!(disk.read_state(0, START)? == before, "STATE was written");

    // Somebody else's data.
    disk.spoil_state(0, &[0xa5; 1 << 20])?;
    let before = disk.read_state(0, START)?;
    let mut machine = test.boot(&image).with_disk(&disk).start()?;
    shows(&machine, "state-unmountable")?;
    machine.cut_power();
    ensure!(disk.read_state(0, START)? == before, "STATE was written");
    test.passed();
    Ok(())
}
