//! The host's own `systemctl` against the engine of a booted machine, over its private socket.
//!
//! What a unit does is read by `systemctl` alone, as its user would. Needs root for a mount namespace.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::protocol::{Bytes, Call};
use qemu_tests::relay;
use qemu_tests::scene::{eventually, host, pushed};

const SOON: Duration = Duration::from_secs(60);
const GUEST_PORT: u16 = 8080;
const SOCKET: &str = "/run/systemd/private";

struct Said {
    out: String,
    err: String,
    code: i32,
}

/// Runs `systemctl` where `folder` is `/run/systemd`.
fn systemctl(folder: &Path, line: &str) -> Result<Said> {
    let script = r#"mount --bind "$0" /run/systemd && exec systemctl "$@""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(folder)
        .args(line.split_whitespace())
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "cat")
        .env("LC_ALL", "C.UTF-8")
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Said {
        out: text(&output.stdout),
        err: text(&output.stderr),
        code: output.status.code().unwrap_or(-1),
    })
}

fn unit(image: &str, exec: &str, before: &str, after: &str) -> String {
    format!("[Unit]\n{before}\n[Container]\nImage={image}\nExec={exec}\nStopTimeout=1\n{after}\n")
}

const BOOT: &str = "[Install]\nWantedBy=multi-user.target";
/// Runs for as long as the test does.
const LONG: &str = "count 100000 0 1";

fn config(image: &str) -> Config {
    let oneshot = "[Service]\nType=oneshot";
    let stays = "[Service]\nType=oneshot\nRemainAfterExit=yes";
    Config::new()
        .unit("web.container", &unit(image, LONG, "", BOOT))
        .unit(
            "side.container",
            &unit(
                image,
                LONG,
                "BindsTo=web.container\nAfter=web.container",
                BOOT,
            ),
        )
        .unit("job.container", &unit(image, "count 2", "", oneshot))
        .unit("done.container", &unit(image, "count 2", "", stays))
        .unit("bad.container", &unit(image, "count 1 3", "", oneshot))
        .unit(
            "needy.container",
            &unit(
                image,
                LONG,
                "Requires=bad.container\nAfter=bad.container",
                "",
            ),
        )
        .unit(
            "rival.container",
            &unit(image, LONG, "Conflicts=web.container", ""),
        )
        .unit(
            "never.container",
            &unit(image, LONG, "ConditionPathExists=/none", BOOT),
        )
        .unit(
            "echo@.container",
            &unit(image, LONG, "Description=Echo %i", ""),
        )
        .unit("wrong.container", "[Container]\nImge=x\n")
        .unit(
            "job.timer",
            "[Timer]\nOnBootSec=1s\nOnUnitActiveSec=1h\n[Install]\nWantedBy=timers.target\n",
        )
}

#[test]
fn systemctl_drives_the_units_of_a_machine_as_it_drives_systemds() -> Result<()> {
    let test = Test::named("systemctl")?;
    let image = pushed(tools::image(), "tools")?;
    let host = host(&test, config(&image))?;
    let machine = &host.machine;
    let port = GUEST_PORT.to_string();
    machine.agent()?.begin(Call::Run {
        argv: ["/usr/lib/skeg/agent", "relay", &port, SOCKET]
            .map(String::from)
            .into(),
        stdin: Bytes::default(),
        timeout_ms: 3_600_000,
    })?;
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("system"))?;
    relay::take_back(&folder.path().join("private"), machine.port(GUEST_PORT)?)?;
    let ask = |line: &str| systemctl(folder.path(), line);
    let is = |name: &str, state: &str| -> Result<()> {
        let said = ask(&format!("is-active {name}"))?;
        ensure!(said.out == state, "{name}: {} {}", said.out, said.err);
        Ok(())
    };
    let comes = |name: &str, state: &str| eventually(name, SOON, || is(name, state));
    let says = |line: &str, code: i32, text: &str| -> Result<()> {
        let said = ask(line)?;
        let both = format!("{}\n{}", said.out, said.err);
        ensure!(
            said.code == code && both.contains(text),
            "{line}: {} {both}",
            said.code
        );
        Ok(())
    };

    // What the boot wants is there, and what it does not is not.
    comes("web", "active")?;
    comes("side", "active")?;
    is("never", "inactive")?;
    says(
        "list-units --plain --no-legend web*",
        0,
        "web.service loaded active running",
    )?;
    says("status wrong", 3, "unknown key 'Imge'")?;
    // The timer has started its job.
    eventually("the timer's job", SOON, || {
        says("show job -p ExecMainCode", 0, "ExecMainCode=1")
    })?;
    comes("job", "inactive")?;
    says("list-timers --no-legend", 0, "job.service")?;

    // Jobs end as with systemd.
    says("start job", 0, "")?;
    is("job", "inactive")?;
    says("start done", 0, "")?;
    is("done", "active")?;
    says(
        "start bad",
        1,
        "Job for bad.service failed because the control process exited with error code.",
    )?;
    says("show bad -p Result,ExecMainStatus", 0, "ExecMainStatus=3")?;
    says("is-failed bad", 0, "failed")?;
    says("reset-failed bad", 0, "")?;
    is("bad", "inactive")?;
    says(
        "start needy",
        1,
        "A dependency job for needy.service failed.",
    )?;
    says("start never", 0, "")?;
    is("never", "inactive")?;
    says("start echo@one", 0, "")?;
    says("show echo@one -p Description", 0, "Description=Echo one")?;
    is("echo@one", "active")?;
    says("start wrong", 1, "has a bad unit file setting")?;
    says("start none", 5, "Unit none.service not found.")?;

    // Units end with each other.
    let pid = ask("show web -p MainPID")?.out;
    says("restart web", 0, "")?;
    ensure!(
        ask("show web -p MainPID")?.out != pid,
        "the same process after a restart"
    );
    comes("side", "active")?;
    says("kill -s KILL web", 0, "")?;
    comes("web", "failed")?;
    comes("side", "inactive")?;
    says("start side", 0, "")?;
    is("web", "active")?;
    says("start rival", 0, "")?;
    is("web", "inactive")?;
    is("side", "inactive")?;
    says("daemon-reload", 0, "")?;
    is("rival", "active")?;
    says("stop rival", 0, "")?;
    is("rival", "inactive")?;
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}
