//! Updates of a whole host: firmware, loader, boot counting, trial, and the way back.
//!
//! Each release is another file of the same image; what is wrong with a bad one is laid over it.

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::files::Files;
use qemu_tests::fixtures::web;
use qemu_tests::image::builder;
use qemu_tests::scene::{READY, eventually, pushed};
use qemu_tests::{Disk, Image, Running};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// From an offer to the verdict: fetched, written, rebooted, judged, each emulated.
const UPDATE: Duration = Duration::from_secs(300);

/// A host that updates itself, and the place that it looks at.
struct Scene {
    test: Test,
    machine: Running,
    files: Files,
    image: Image,
}

/// The publisher's tool, on this test's repository with this test's keys.
fn publish(test: &Test, words: &[&str]) -> Result<()> {
    let (keys, repository) = (test.folder().join("keys"), test.folder().join("releases"));
    let done = Command::new(builder()?)
        .args(words)
        .arg("--keys")
        .arg(keys)
        .arg("--repository")
        .arg(repository)
        .args(["--product", "skeg"])
        .output()
        .context("run the image builder")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("image {}: {said}", words.join(" "));
    }
    Ok(())
}

impl Scene {
    fn start(name: &str) -> Result<Self> {
        let test = Test::named(name)?;
        let image = Image::built("test")?;
        let folder = test.folder().join("releases");
        publish(&test, &["keys", "init"])?;
        let files = Files::serve(&folder)?;
        let root = std::fs::read_to_string(folder.join("skeg/skeg/root/1.jsonl"))?;
        let page = pushed(web::image(), "web")?;
        let unit = format!(
            "[Container]\nImage={page}\nPublishPort=8080:80\n[Service]\nRestart=always\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        let update = format!(
            "sources = [\"{}\"]\nchannel = \"stable\"\nstrategy = \"immediate\"\n\
             poll_seconds = 10\ntrial_seconds = 60\n",
            files.url()
        );
        let port = qemu_tests::fixtures::registry::Registry::shared()?.port();
        let config = Config::new()
            .registry(port)
            .unit("web.container", &unit)
            .file("skeg/update.toml", &update)
            .file("skeg/update-root.jsonl", &root);
        let disk = Disk::fresh(&test, &image, &config)?;
        let machine = test
            .boot_firmware(&image)
            .with_disk(&disk)
            .with_watchdog()
            .forward(8080)
            .start()?;
        machine.console().wait("unit:web", READY)?;
        Ok(Self {
            test,
            machine,
            files,
            image,
        })
    }

    /// Another release of the same image.
    fn release(&self, version: &str, more: &[&str]) -> Result<PathBuf> {
        let out = self.test.folder().join(format!("skeg_{version}.efi"));
        let built = Command::new(builder()?)
            .arg("vary")
            .arg("--uki")
            .arg(self.image.uki()?)
            .args(["--version-string", version])
            .args(more)
            .arg("--out")
            .arg(&out)
            .output()
            .context("run the image builder")?;
        if !built.status.success() {
            bail!("image vary: {}", String::from_utf8_lossy(&built.stderr));
        }
        Ok(out)
    }

    /// Publishes a release, signed, and lets the channel go to it.
    fn offer(&self, version: &str, uki: &Path) -> Result<()> {
        let uki = uki.display().to_string();
        publish(&self.test, &["release", &uki, "--channel", "stable"])?;
        publish(&self.test, &["promote", version, "--channel", "stable"])
    }

    fn page(&self) -> Result<()> {
        let page = qemu_tests::web::page(self.machine.port(8080)?, "/", READY)?;
        ensure!(page.contains("Skeg served this page"), "{page}");
        Ok(())
    }

    /// Waits for an outcome in the history; gives what the host says of itself then.
    fn ends(&self, outcome: &str) -> Result<String> {
        eventually(outcome, UPDATE, || {
            let history = self.machine.skeg(&["update", "history"])?;
            ensure!(history.contains(outcome), "no {outcome:?} in:\n{history}");
            self.machine.skeg(&["update", "status"])
        })
    }
}

#[test]
fn a_release_is_found_tried_and_kept_and_the_page_comes_back() -> Result<()> {
    let scene = Scene::start("update-kept")?;
    scene.page()?;
    let uki = scene.release("0.2.0", &[])?;
    let console = scene.machine.console().now();
    scene.offer("0.2.0", &uki)?;
    scene
        .machine
        .console()
        .wait_after(console, "on trial", UPDATE)?;
    scene
        .machine
        .console()
        .wait_after(console, "unit:web", READY)?;
    let status = scene.ends("0.2.0  good")?;
    ensure!(status.contains("running  0.2.0"), "{status}");
    ensure!(status.contains("skeg_0.2.0.efi"), "not blessed: {status}");
    scene.page()?;
    // Pieces that the running release has are not fetched again.
    let (sent, length) = (scene.files.sent(), std::fs::metadata(&uki)?.len());
    ensure!(sent < length / 2, "{sent} of {length} bytes were fetched");
    scene.machine.console().check_for_oops()?;
    scene.test.passed();
    Ok(())
}

/// A bad release: where it ends, and what the host says of it.
fn comes_back_from(
    name: &str,
    make: impl FnOnce(&Scene) -> Result<PathBuf>,
    why: &str,
) -> Result<()> {
    let scene = Scene::start(name)?;
    let uki = make(&scene)?;
    let (console, events) = (scene.machine.console().now(), scene.machine.qmp().now());
    scene.offer("0.2.0", &uki)?;
    scene.machine.qmp().wait_event(events, "RESET", UPDATE)?;
    // Whatever its boots came to, the last one is the old release's.
    let console_of = scene.machine.console();
    console_of.wait_past_panics(console, "unit:web", UPDATE)?;
    let status = scene.ends("0.2.0  rolled back")?;
    ensure!(status.contains("running  0.1.0"), "{status}");
    ensure!(
        status.contains("skeg_0.2.0+0-"),
        "still to be tried: {status}"
    );
    let history = scene.machine.skeg(&["update", "history"])?;
    ensure!(history.contains(why), "no {why:?} in:\n{history}");
    scene.page()?;
    let check = scene.machine.run(["/usr/bin/skeg", "update", "check"])?;
    let said = check.stdout.text() + &check.stderr.text();
    ensure!(!said.contains("was found"), "offered again: {said}");
    scene.test.passed();
    Ok(())
}

/// A file of the built image's initramfs, on its own.
fn taken_out(scene: &Scene, path: &str) -> Result<PathBuf> {
    let entries = qemu_tests::initramfs::read(&scene.image.initrd())?;
    let found = entries.into_iter().find(|entry| entry.path == path);
    let file = scene.test.folder().join("taken-out");
    std::fs::write(&file, found.with_context(|| format!("no {path}"))?.content)?;
    Ok(file)
}

#[test]
fn a_release_whose_first_process_exits_is_left_after_its_tries() -> Result<()> {
    let make = |scene: &Scene| {
        // Any program but an init: it ends, and the kernel panics.
        let program = taken_out(scene, "usr/lib/skeg/agent")?;
        let put = format!("/init={}", program.display());
        scene.release("0.2.0", &["--put", &put, "--cmdline", "panic=1"])
    };
    comes_back_from("update-panics", make, "3 tries ended without a judgement")
}

#[test]
fn a_release_whose_engine_never_gets_ready_is_left_by_its_own_judgement() -> Result<()> {
    let make = |scene: &Scene| {
        let service = scene.test.folder().join("engine.service");
        let text = "[Unit]\nDescription=No engine\n[Service]\nType=notify\n\
                    ExecStart=/usr/bin/skeg no-engine\nRestart=always\n";
        std::fs::write(&service, text)?;
        let put = format!(
            "/usr/lib/skeg/services/engine.service={}",
            service.display()
        );
        scene.release("0.2.0", &["--put", &put])
    };
    comes_back_from("update-no-engine", make, "the engine does not answer")
}
