//! Whole boots: firmware, loader, UKI, PID 1, engine, container, page; and the way down.
//!
//! Promises to users are tested on profile `vm` through its public ports.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::faulty::{Fault, Faulty};
use qemu_tests::fixtures::{tools, web};
use qemu_tests::scene::{READY, host, pushed};
use qemu_tests::{Disk, Image, Running, timeline};
use std::time::Duration;

const PAGE: Duration = Duration::from_secs(60);

fn unit(image: &str, more: &str) -> String {
    format!(
        "[Container]\nImage={image}\n{more}\n[Service]\nRestart=always\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

fn web_unit(image: &str) -> String {
    unit(image, "PublishPort=8080:80\nVolume=web-data:/srv/data\n")
}

fn web_config() -> Result<Config> {
    let image = pushed(web::image(), "web")?;
    let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
    Ok(Config::new()
        .registry(port)
        .unit("web.container", &web_unit(&image)))
}

/// The page, and that it is the whole one.
fn page(machine: &Running) -> Result<String> {
    let page = qemu_tests::web::page(machine.port(8080)?, "/", PAGE)?;
    ensure!(page.contains("Skeg served this page"), "{page}");
    ensure!(page.contains("started at"), "no line of the volume: {page}");
    Ok(page)
}

/// How often the volume says that the container was started.
fn starts(page: &str) -> usize {
    page.matches("started at").count()
}

#[test]
fn a_page_is_served_after_firmware_loader_and_uki() -> Result<()> {
    let test = Test::named("page-after-firmware")?;
    let image = Image::built("vm")?;
    let disk = Disk::fresh(&test, &image, &web_config()?)?;
    let machine = test
        .boot_firmware(&image)
        .with_disk(&disk)
        .with_watchdog()
        .forward(8080)
        .start()?;
    machine.console().wait("unit:web", READY)?;
    page(&machine)?;
    let stages = timeline::stages(&machine.console().lines());
    for wanted in ["init", "modules", "watchdog", "state", "service:engine"] {
        let there = stages.iter().any(|(_, name)| name == wanted);
        ensure!(there, "no stage `{wanted}` in {stages:?}");
    }
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn the_same_uki_serves_the_page_when_handed_over_by_kernel_option() -> Result<()> {
    let test = Test::named("page-by-kernel-option")?;
    let image = Image::built("vm")?;
    let disk = Disk::fresh(&test, &image, &web_config()?)?;
    let machine = test
        .boot_uki(&image)
        .with_disk(&disk)
        .forward(8080)
        .start()?;
    machine.console().wait("unit:web", READY)?;
    page(&machine)?;
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn image_and_volume_survive_a_reboot() -> Result<()> {
    let test = Test::named("survive-a-reboot")?;
    let image = Image::built("test")?;
    let registry = Faulty::serve(&web::image()?, Fault::None)?;
    let config = Config::new()
        .registry(registry.port())
        .unit("web.container", &web_unit(&registry.name("web")));
    let disk = Disk::fresh(&test, &image, &config)?;
    let machine = test.boot(&image).with_disk(&disk).forward(8080).start()?;
    machine.console().wait("unit:web", READY)?;
    ensure!(starts(&page(&machine)?) == 1, "a fresh volume has one line");
    let pulled = blobs(&registry);

    let (console, events) = (machine.console().now(), machine.qmp().now());
    machine.agent()?.start(&["/usr/bin/skeg", "reboot"])?;
    machine.qmp().wait_event(events, "RESET", READY)?;
    machine.console().wait_after(console, "unit:web", READY)?;
    let page = page(&machine)?;
    ensure!(starts(&page) == 2, "expected two starts: {page}");
    ensure!(blobs(&registry) == pulled, "blobs were pulled again");
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

fn blobs(registry: &Faulty) -> Vec<String> {
    let mut asked = registry.asked();
    asked.retain(|path| path.contains("/blobs/"));
    asked
}

#[test]
fn the_power_button_lets_containers_finish_and_leaves_clean_file_systems() -> Result<()> {
    let test = Test::named("power-button")?;
    let image = Image::built("test")?;
    let tools = pushed(tools::image(), "tools")?;
    let polite = unit(&tools, "Exec=polite\nVolume=notes:/data\nStopTimeout=20\n");
    let stubborn = unit(&tools, "Exec=stubborn\nStopTimeout=3\n");
    let config = Config::new()
        .unit("polite.container", &polite)
        .unit("stubborn.container", &stubborn);
    let mut host = host(&test, config)?;
    for name in ["unit:polite", "unit:stubborn"] {
        host.machine.console().wait(name, READY)?;
    }
    let logs = host.machine.skeg(&["logs", "polite"])?;
    ensure!(!logs.contains("got SIGTERM"), "too early: {logs}");

    host.machine.press_power_button()?;
    // Three seconds for the stubborn one, the rest for a busy emulated processor.
    host.machine.wait_off(Duration::from_secs(30))?;
    host.disk.check_file_systems()?;

    let again = test.boot(&image).with_disk(&host.disk).start()?;
    again.console().wait("unit:polite", READY)?;
    let logs = qemu_tests::scene::eventually("the notes", PAGE, || {
        let logs = again.skeg(&["logs", "polite"])?;
        logs.contains("ready").then_some(logs).context("not ready")
    })?;
    ensure!(logs.contains("got SIGTERM"), "no SIGTERM before: {logs}");
    test.passed();
    Ok(())
}
