//! What a container sees of its host: nothing, and what it may do: little.
//!
//! Everything is asked from inside, by busybox, with the defaults that a user gets.

use anyhow::{Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::tools;
use qemu_tests::protocol::Output;
use qemu_tests::scene::{Host, host, pushed};

struct Inside {
    host: Host,
    image: String,
}

impl Inside {
    fn run(&self, script: &str) -> Result<Output> {
        let words = [
            "/usr/bin/skeg",
            "run",
            "--rm",
            &self.image,
            "sh",
            "-c",
            script,
        ];
        self.host.machine.run(words)
    }

    /// What the script prints, whatever its exit code.
    fn says(&self, script: &str) -> Result<String> {
        Ok(self.run(script)?.stdout.text())
    }

    fn fails(&self, script: &str) -> Result<()> {
        let output = self.run(script)?;
        ensure!(
            output.code != 0,
            "`{script}` succeeded: {}{}",
            output.stdout.text(),
            output.stderr.text()
        );
        Ok(())
    }
}

#[test]
fn a_container_sees_nothing_of_its_host_and_may_do_little() -> Result<()> {
    let test = Test::named("isolation")?;
    let image = pushed(tools::image(), "tools")?;
    let inside = Inside {
        host: host(&test, Config::new())?,
        image,
    };
    privileges(&inside)?;
    processes(&inside)?;
    masked(&inside)?;
    forbidden(&inside)?;
    inside.host.machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

fn privileges(inside: &Inside) -> Result<()> {
    let status = inside.says("cat /proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.unwrap_or_default().to_owned()
    };
    ensure!(field("NoNewPrivs:") == "1", "no_new_privs:\n{status}");
    ensure!(field("Seccomp:") == "2", "no seccomp filter:\n{status}");
    // Docker's default set, in capabilities(7)'s numbering.
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        ensure!(field(set) == "00000000a80425fb", "{set}\n{status}");
    }
    ensure!(field("CapAmb:") == "0000000000000000", "ambient:\n{status}");
    Ok(())
}

fn processes(inside: &Inside) -> Result<()> {
    let pids = inside.says("cd /proc; ls -d [0-9]* | sort -n | tr '\\n' ' '; echo $$")?;
    ensure!(pids.starts_with("1 "), "its first process is not 1: {pids}");
    ensure!(!pids.contains("100 "), "the host's processes: {pids}");
    let host_namespaces = inside.host.machine.agent()?;
    for namespace in ["mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        let within = inside.says(&format!("readlink /proc/self/ns/{namespace}"))?;
        let without = host_namespaces.link(&format!("/proc/1/ns/{namespace}"))?;
        ensure!(within.trim() != without, "the host's {namespace} namespace");
        ensure!(within.contains(namespace), "no {namespace}: {within}");
    }
    Ok(())
}

fn masked(inside: &Inside) -> Result<()> {
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
    ] {
        let said = inside.says(&format!("head -c 16 {path} 2>/dev/null | wc -c"))?;
        ensure!(said.trim() == "0", "{path} has content: {said}");
    }
    for folder in ["/sys/firmware", "/proc/scsi", "/proc/acpi"] {
        let said = inside.says(&format!("ls -A {folder} 2>/dev/null"))?;
        ensure!(said.trim().is_empty(), "{folder} has content: {said}");
    }
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/proc/irq/x",
    ] {
        inside.fails(&format!("echo x > {path}"))?;
    }
    inside.fails("mkdir /sys/fs/cgroup/x")?;
    inside.fails("ls /var/lib/skeg")
}

fn forbidden(inside: &Inside) -> Result<()> {
    inside.fails("mount -t tmpfs none /tmp")?;
    inside.fails("unshare -m true")?;
    inside.fails("unshare -U true")?;
    inside.fails("mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk")?;
    let date = inside.says("date -s 2001-01-01 2>/dev/null >/dev/null; date")?;
    ensure!(!date.contains("2001"), "it set the host's clock: {date}");
    inside.fails("dmesg")?;
    inside.fails("hostname elsewhere")?;
    inside.fails("reboot -f")
}
