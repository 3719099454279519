//! Updates of a whole host: firmware, loader, boot counting, trial, and the way back.
//!
//! Each machine goes through several releases, one after the other.

use anyhow::{Result, ensure};
use qemu_tests::fixtures::releases::{Scene, Told, UPDATE};
use qemu_tests::scene::READY;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time for which the page did not answer, while something happened.
fn downtime<T>(port: u16, during: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !done.load(Ordering::Relaxed) {
                let got = qemu_tests::web::get(port, "/", Duration::from_secs(2));
                if got.is_ok_and(|(status, _)| status == 200) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            longest
        });
        let result = during();
        done.store(true, Ordering::Relaxed);
        let longest = watcher.join().unwrap_or_default();
        Ok((result?, longest))
    })
}

#[test]
fn a_release_is_found_tried_and_kept_and_the_page_comes_back() -> Result<()> {
    let check = "http = \"http://127.0.0.1:8080/\"\ncontains = \"Skeg served this page\"\n";
    let told = Told {
        files: &[("skeg/health.d/page.toml", check)],
        ..Told::default()
    };
    let scene = Scene::start("update-kept", &told)?;
    scene.page()?;
    let version = "0.2.0";
    let uki = scene.release(version, &[])?;
    let (console, sent) = (scene.machine.console().now(), scene.files.sent());
    let port = scene.machine.port(8080)?;
    let ((history, status), longest) = downtime(port, || {
        scene.offer(version, &uki)?;
        scene
            .machine
            .console()
            .wait_after(console, "on trial", UPDATE)?;
        scene
            .machine
            .console()
            .wait_after(console, "unit:web", READY)?;
        scene.ends(&format!("{version}  good"))
    })?;
    ensure!(status.contains(&format!("running  {version}")), "{status}");
    let blessed = format!("skeg_{version}.efi");
    ensure!(status.contains(&blessed), "not blessed: {status}");
    for judged in ["network", "check:page", "web.service"] {
        ensure!(
            history.contains(judged),
            "{judged} was not judged: {history}"
        );
    }
    scene.page()?;
    // Pieces that the running release has are not fetched again.
    let (sent, length) = (scene.files.sent() - sent, std::fs::metadata(&uki)?.len());
    ensure!(sent < length / 2, "{sent} of {length} bytes were fetched");
    println!("{version}: {sent} bytes fetched, {longest:.1?} without the page");
    scene.machine.console().check_for_oops()?;
    scene.test.passed();
    Ok(())
}

#[test]
fn a_release_whose_first_process_exits_is_left_after_its_tries() -> Result<()> {
    let scene = Scene::start("update-panics", &Told::default())?;
    // Any program but an init: it ends, and the kernel panics before STATE and the firmware's store are up.
    let (_, program) = scene.of_image("usr/lib/skeg/agent")?;
    let init = scene.test.folder().join("init");
    std::fs::write(&init, program)?;
    let put = format!("/init={}", init.display());
    let uki = scene.release("0.2.0", &["--put", &put, "--cmdline", "panic=1"])?;
    let why = "3 tries ended without a judgement";
    scene.comes_back_from("0.2.0", &uki, why, "")?;
    scene.test.passed();
    Ok(())
}

#[test]
fn a_release_without_engine_workload_or_network_is_left_by_its_own_judgement() -> Result<()> {
    let scene = Scene::start("update-judged", &Told::default())?;
    let uki = scene.release_with_service("0.2.0", "engine", "/usr/bin/skeg no-engine")?;
    let why = "the engine does not answer";
    scene.comes_back_from("0.2.0", &uki, why, "engine")?;
    // Without pairs of interfaces no container gets its network.
    let (path, _) = scene.of_image("/veth.ko")?;
    let uki = scene.release_with("0.3.0", &path, b"no module")?;
    scene.comes_back_from("0.3.0", &uki, "web.service: ", "web")?;
    let (path, _) = scene.of_image("/virtio_net.ko")?;
    let uki = scene.release_with("0.4.0", &path, b"no module")?;
    scene.comes_back_from("0.4.0", &uki, "network: no link has an address", "init")?;
    scene.test.passed();
    Ok(())
}
