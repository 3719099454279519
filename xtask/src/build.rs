//! Builds: the guest's static programs, the host's tools, the images of both profiles.
//!
//! It only calls cargo and the image builder; both decide themselves what is up to date.

use crate::{Outcome, place, progress};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A cargo command in the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(place::workspace());
    command
}

/// The image builder, the demo and the tests' harness, for this machine.
pub fn host_tools() -> Outcome<()> {
    progress::quietly(
        "build the image builder and the harness",
        &mut cargo(&[
            "build",
            "-p",
            "image",
            "-p",
            "qemu-tests",
            "--bins",
            "--features",
            "image/publish",
        ]),
    )
}

/// Programs of the package `skeg`, by the recipe's names and cargo's.
const PROGRAMS: [(&str, &str); 2] = [("skeg", "skeg"), ("daemons", "skeg-daemons")];

/// PID 1 and the host's programs; for profile `test` the agent too.
pub fn guest_programs(profiles: &[&str]) -> Outcome<()> {
    let (tiny, release) = (place::tiny(), place::release());
    let init = ["--profile", tiny, "-p", "init"];
    progress::quietly("build skeg-init (static)", &mut guest_cargo(&init))?;
    let skeg = ["--profile", release, "-p", "skeg"];
    if profiles.contains(&"test") {
        let with_points = [&skeg[..], &["--features", "crash-points"]].concat();
        let what = "build the host's programs with crash points, for tests (static)";
        progress::quietly(what, &mut guest_cargo(&with_points))?;
        for (_, name) in PROGRAMS {
            let (from, to) = (place::guest_program(release, name), crashing(name));
            let copied = std::fs::copy(&from, &to);
            copied.map_err(|e| format!("copy {} to {}: {e}", from.display(), to.display()))?;
        }
    }
    progress::quietly(
        "build the host's programs (static)",
        &mut guest_cargo(&skeg),
    )?;
    let ssh = ["--profile", release, "-p", "ssh"];
    progress::quietly("build skeg-ssh (static)", &mut guest_cargo(&ssh))?;
    if profiles.contains(&"test") {
        let agent = [
            "--profile",
            release,
            "-p",
            "qemu-tests",
            "--bin",
            "skeg-agent",
        ];
        progress::quietly("build skeg-agent (static)", &mut guest_cargo(&agent))?;
    }
    Ok(())
}

/// The program in the container that benchmarks start.
pub fn probe() -> Outcome<()> {
    let probe = ["-p", "qemu-tests", "--bin", "skeg-probe"];
    let arguments = [&["--profile", place::release()], &probe[..]].concat();
    progress::quietly("build skeg-probe (static)", &mut guest_cargo(&arguments))
}

/// `skeg` without one of its defences at a time, for the tests of breakouts: a debug build, and never on an image.
pub fn mutant() -> Outcome<()> {
    let arguments = ["build", "-p", "skeg", "--features", "mutants"];
    progress::quietly(
        "build skeg without its defences, for tests",
        &mut cargo(&arguments),
    )?;
    let (from, to) = (
        place::host_program("skeg"),
        place::host_program("skeg-mutant"),
    );
    let copied = std::fs::copy(&from, &to);
    copied.map_err(|e| format!("copy {} to {}: {e}", from.display(), to.display()))?;
    Ok(())
}

/// Cargo gives both builds of a program one name.
fn crashing(name: &str) -> PathBuf {
    place::guest_program(place::release(), &format!("{name}-with-crash-points"))
}

fn plain(name: &str) -> PathBuf {
    place::guest_program(place::release(), name)
}

/// Static, so that no C library is on the image. With `--target`, the flags do not reach build
/// scripts, so the host's own builds stay as they are.
fn guest_cargo(arguments: &[&str]) -> Command {
    let mut command = cargo(&["build", "--target", place::GUEST]);
    command
        .args(arguments)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", guest_flags().join("\x1f"))
        .env("LIBSECCOMP_LINK_TYPE", "static")
        .env("LIBSECCOMP_LIB_PATH", "/usr/lib/x86_64-linux-gnu");
    command
}

/// The flags of the guest's programs: the same bytes wherever the sources and cargo's home lie, and
/// relocations in a twentieth of the room. And random numbers by the system call: a static program does not find libc's, and
/// would else poll `/dev/random`, which a machine without a source of its own leaves empty for minutes.
fn guest_flags() -> [String; 5] {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    [
        "-Ctarget-feature=+crt-static".to_owned(),
        "--cfg=getrandom_backend=\"linux_getrandom\"".to_owned(),
        "-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned(),
        remap(&place::workspace(), "/skeg"),
        remap(&place::cargo_home(), "/cargo"),
    ]
}

/// The images of these profiles.
pub fn images(profiles: &[&str]) -> Outcome<()> {
    let mut fetch = Command::new(place::host_program("image"));
    fetch.arg("fetch").current_dir(place::workspace());
    progress::quietly("fetch kernel, loader and firmware (pinned)", &mut fetch)?;
    for profile in profiles {
        progress::quietly(
            &format!("build the image, profile {profile}"),
            &mut image_command(profile, profile, plain),
        )?;
    }
    if profiles.contains(&"test") {
        let what = "build the image, profile test with crash points";
        progress::quietly(what, &mut image_command("test", "crash", crashing))?;
    }
    Ok(())
}

/// An image of a profile, in a folder of its own name: what is tested is what ships, so the crash points
/// are in an image of their own.
fn image_command(profile: &str, folder: &str, program: fn(&str) -> PathBuf) -> Command {
    let mut command = Command::new(place::host_program("image"));
    command
        .current_dir(place::workspace())
        .args(["build", "--profile", profile])
        .arg("--out")
        .arg(place::image(folder));
    let mut give = |name: &str, path: PathBuf| {
        let mut given = OsString::from(format!("{name}="));
        given.push(path);
        command.arg("--program").arg(given);
    };
    give("init", place::guest_program(place::tiny(), "skeg-init"));
    for (name, file) in PROGRAMS {
        give(name, program(file));
    }
    give("ssh", plain("skeg-ssh"));
    if profile == "test" {
        give("agent", plain("skeg-agent"));
    }
    command
}
