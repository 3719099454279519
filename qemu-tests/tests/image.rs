//! What an image is and is not: budgets, contents, and the same bytes each time.
//!
//! No machine is booted; `cargo xtask image` has built both profiles before.

use anyhow::{Context, Result, ensure};
use qemu_tests::image::{builder, target, workspace};
use qemu_tests::{Image, initramfs};
use std::path::{Path, PathBuf};
use std::process::Command;

const MB: u64 = 1_000_000;

fn size(path: &Path) -> Result<u64> {
    let found = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(found.len())
}

fn guest_program(profile: &str, name: &str) -> PathBuf {
    let folder = target().join("x86_64-unknown-linux-gnu").join(profile);
    folder.join(name)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn pid_1_is_at_most_1_3_mb() -> Result<()> {
    // It lies in memory on every host for ever; a C library's start-up alone is 0.8 MB.
    let bytes = size(&guest_program("tiny", "skeg-init"))?;
    ensure!(bytes <= 13 * MB / 10, "skeg-init has {bytes} bytes");
    Ok(())
}

#[test]
fn the_uki_of_profile_vm_is_at_most_40_mb_and_24_mb_on_the_wire() -> Result<()> {
    // The ESP must hold three of them; the wire's figure is what a first installation downloads.
    let uki = Image::built("vm")?.uki()?;
    let bytes = size(&uki)?;
    ensure!(bytes <= 40 * MB, "{} has {bytes} bytes", uki.display());
    let packed = Command::new("zstd")
        .args(["-q", "-19", "-c", "-T0"])
        .arg(&uki)
        .output()?;
    ensure!(packed.status.success(), "zstd failed");
    let bytes = packed.stdout.len() as u64;
    ensure!(bytes <= 24 * MB, "{bytes} bytes after zstd -19");
    Ok(())
}

#[test]
fn profile_vm_has_no_shell_no_c_library_and_no_test_channel() -> Result<()> {
    let image = Image::built("vm")?;
    let entries = initramfs::read(&image.initrd())?;
    ensure!(entries.iter().any(|e| e.path == "init"), "no /init at all");
    let shells = ["sh", "bash", "dash", "ash", "busybox", "zsh", "ksh"];
    for entry in &entries {
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        let path = &entry.path;
        ensure!(!shells.contains(&name), "a shell: {path}");
        ensure!(!name.starts_with("libc.so"), "a C library: {path}");
        ensure!(!name.starts_with("ld-linux"), "a dynamic linker: {path}");
        ensure!(!name.contains("agent"), "the test channel: {path}");
        ensure!(
            !contains(&entry.content, b"skeg.test"),
            "the test channel's name in {path}"
        );
        let elf = entry.content.starts_with(b"\x7fELF");
        ensure!(
            !(elf && contains(&entry.content, b"/lib64/ld-linux")),
            "a program that wants a dynamic linker: {path}"
        );
    }
    Ok(())
}

#[test]
fn no_path_of_the_machine_that_built_it_is_in_the_image() -> Result<()> {
    let home = std::env::var("HOME")?;
    let places = [workspace().display().to_string(), format!("{home}/.cargo")];
    for entry in initramfs::read(&Image::built("vm")?.initrd())? {
        for place in &places {
            let inside = contains(&entry.content, place.as_bytes());
            ensure!(!inside, "{} holds {place}", entry.path);
        }
    }
    Ok(())
}

#[test]
fn profile_test_is_profile_vm_and_one_more_segment() -> Result<()> {
    let vm = std::fs::read(Image::built("vm")?.initrd())?;
    let test = std::fs::read(Image::built("test")?.initrd())?;
    ensure!(test.len() > vm.len(), "no segment was added");
    ensure!(test.starts_with(&vm), "what is tested is not what ships");
    Ok(())
}

#[test]
fn two_builds_on_two_paths_are_equal() -> Result<()> {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let two = two.path().join("a/longer/path");
    build(one.path())?;
    build(&two)?;
    for name in [
        "vmlinuz",
        "initrd.cpio",
        "cmdline",
        "sbom.json",
        "skeg.efi",
        "disk.raw",
    ] {
        let same = std::fs::read(one.path().join(name))? == std::fs::read(two.join(name))?;
        ensure!(same, "{name} differs");
    }
    Ok(())
}

/// Builds image and disk from copies of all inputs in `folder`.
fn build(folder: &Path) -> Result<()> {
    let inputs = folder.join("inputs");
    std::fs::create_dir_all(&inputs)?;
    let programs = [
        ("tiny", "skeg-init", "init"),
        ("release", "skeg", "skeg"),
        ("release", "skeg-daemons", "daemons"),
        ("release", "skeg-ssh", "ssh"),
    ];
    for (profile, name, _) in programs {
        std::fs::copy(guest_program(profile, name), inputs.join(name))?;
    }
    ok(Command::new("cp")
        .args(["-r", "--"])
        .arg(workspace().join("image"))
        .arg(&inputs))?;
    let epoch = "1767225600";
    let mut build = Command::new(builder()?);
    build
        .env("SOURCE_DATE_EPOCH", epoch)
        .args(["build", "--profile", "vm", "--recipe"])
        .arg(inputs.join("image"))
        .arg("--out")
        .arg(folder);
    for (_, name, role) in programs {
        let path = inputs.join(name);
        let given = format!("{role}={}", path.display());
        build.arg("--program").arg(given);
    }
    ok(&mut build)?;
    let image = Image {
        profile: "vm".into(),
        folder: folder.to_owned(),
    };
    std::fs::rename(image.uki()?, folder.join("skeg.efi"))?;
    ok(Command::new(builder()?)
        .env("SOURCE_DATE_EPOCH", epoch)
        .args(["disk", "--size", "1G", "--uki"])
        .arg(folder.join("skeg.efi"))
        .arg("--out")
        .arg(folder.join("disk.raw")))
}

fn ok(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
