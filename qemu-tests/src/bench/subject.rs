//! What is compared: a system with the probe's unit and image on its disk, powered off cleanly.
//!
//! Both are told the same unit file, byte for byte, and fetch the image in a boot before.

use super::peer;
use super::trial::BOOT;
use crate::artefacts::Test;
use crate::disk::Config;
use crate::fixtures::layout::Layout;
use crate::fixtures::registry::Registry;
use crate::image::target;
use crate::narrate::step;
use crate::protocol::hex;
use crate::{Disk, Image};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Raise it when machines are set up differently.
const RECIPE: u32 = 3;
/// The registry's port: part of the image's name, and so of both disks.
pub const PORT: u16 = 5095;

/// A system that is ready to be measured.
pub struct Subject {
    /// For the table.
    pub name: &'static str,
    /// Kernel, initramfs and command line.
    pub image: Image,
    /// A disk that every trial copies.
    pub disk: PathBuf,
    /// What its measures are kept under; another one whenever it would boot otherwise.
    pub key: String,
    /// How long a small machine may take to its container.
    pub patience: Duration,
    /// Bytes of the system, container images not counted.
    pub bytes: u64,
}

/// The probe's unit, for Quadlet and for Skeg.
#[must_use]
pub fn unit() -> String {
    format!(
        "[Unit]\nDescription=Says that it runs, and how much memory is used\n\n\
         [Container]\nImage=10.0.2.2:{PORT}/probe:1\nAddDevice=/dev/kmsg\nAddCapability=CAP_SYSLOG\n\
         Volume=/proc/sys/vm/drop_caches:/drop_caches\n\n\
         [Service]\nRestart=always\nRestartSec=3\n\n\
         [Quadlet]\nDefaultDependencies=false\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// Skeg, profile `vm`.
///
/// # Errors
/// It was not built, or does not run the container.
pub fn skeg(test: &Test, probe: &Layout) -> Result<Subject> {
    let image = Image::built("vm")?;
    let mut hash = Sha256::new();
    for file in [image.kernel(), image.initrd()] {
        hash.update(std::fs::read(&file).with_context(|| format!("read {}", file.display()))?);
    }
    hash.update(image.command_line()?);
    let key = key("skeg", &hex(&hash.finalize()), probe)?;
    let bytes = std::fs::metadata(image.uki()?)?.len();
    let subject = Subject {
        name: "Skeg",
        disk: folder().join(&key).join("ready.raw"),
        image,
        key,
        patience: Duration::from_secs(90),
        bytes,
    };
    if !subject.disk.exists() {
        let config = Config::new()
            .registry(PORT)
            .unit("probe.container", &unit());
        let disk = Disk::fresh(test, &subject.image, &config)?;
        prepare(test, &subject, &disk)?;
    }
    Ok(subject)
}

/// The peer: Debian, systemd, podman.
///
/// # Errors
/// It cannot be built, or does not run the container.
pub fn peer(test: &Test, probe: &Layout) -> Result<Subject> {
    let kernel = peer::kernel_version(&Image::built("vm")?.kernel())?;
    let key = key("peer", &peer::recipe(&kernel), probe)?;
    let home = folder().join(&key);
    let built = peer::build(&home, &kernel)?;
    let subject = Subject {
        name: peer::NAME,
        disk: home.join("ready.raw"),
        image: built.image,
        key,
        patience: Duration::from_secs(240),
        bytes: built.bytes,
    };
    if !subject.disk.exists() {
        let disk = Disk::at(&built.disk).copy(test)?;
        prepare(test, &subject, &disk)?;
    }
    Ok(subject)
}

/// Boots it once, so that its image is there, and powers it off as a person would.
fn prepare(test: &Test, subject: &Subject, disk: &Disk) -> Result<()> {
    let what = format!(
        "{}: first boot, which fetches the container's image",
        subject.name
    );
    step(&what, || {
        let mut machine = test
            .boot(&subject.image)
            .with_disk(disk)
            .memory(1024)
            .emulated()
            .start()?;
        machine.console().wait("skeg-probe: times ", BOOT)?;
        machine.press_power_button()?;
        machine.wait_off(BOOT)?;
        let folder = subject.disk.parent().context("a disk without a folder")?;
        std::fs::create_dir_all(folder).context("create a folder for disks")?;
        std::fs::rename(disk.path(), &subject.disk).context("keep a disk")
    })
}

/// Pushes the probe's image to a registry on the port that both disks know.
///
/// # Errors
/// The port is taken, or what skopeo says.
pub fn registry(probe: &Layout) -> Result<Registry> {
    let registry = Registry::at(PORT)
        .with_context(|| format!("port {PORT} is part of the image's name, and must be free"))?;
    registry.push(probe, "probe")?;
    Ok(registry)
}

/// Where disks and measures are kept.
#[must_use]
pub fn folder() -> PathBuf {
    target().join("bench")
}

fn key(name: &str, inputs: &str, probe: &Layout) -> Result<String> {
    let mut hash = Sha256::new();
    let (manifest, _) = probe.manifest()?;
    for part in [
        RECIPE.to_string().as_bytes(),
        inputs.as_bytes(),
        unit().as_bytes(),
        &manifest,
        qemu_version()?.as_bytes(),
    ] {
        hash.update(part);
        hash.update([0]);
    }
    Ok(format!("{name}-{}", &hex(&hash.finalize())[..16]))
}

/// QEMU's version, e.g. `7.2.22`: another one counts otherwise.
///
/// # Errors
/// It cannot be run.
pub fn qemu_version() -> Result<String> {
    let output = Command::new("qemu-system-x86_64").arg("--version").output();
    let text = output.context("run qemu-system-x86_64 (package qemu-system-x86)")?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let word = text
        .split_whitespace()
        .skip_while(|w| *w != "version")
        .nth(1);
    Ok(word.unwrap_or("unknown").to_owned())
}
