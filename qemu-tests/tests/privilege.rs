//! Each daemon has the rights that docs/PRIVILEGE.md says, and what it does not grant is refused.
//!
//! The tables of that page are the expectation: page and host cannot drift apart.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::scene::{READY, host};
use qemu_tests::{Disk, Image, Running};

const PAGE: &str = include_str!("../../docs/PRIVILEGE.md");
/// capabilities(7), in the order of their numbers.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// It ends before the engine begins: its rights are looked at where it waits for a good document.
const CONFIG: &str = "config";
/// A folder that the daemon may write to, and the daemon that its attempts are aimed at.
const DAEMONS: [(&str, &str, &str); 5] = [
    ("net", "/run/skeg/net", "engine"),
    ("zygote", "/run", "net"),
    ("engine", "/var", "net"),
    ("update", "/var/lib/skeg-update", "net"),
    (CONFIG, "/var", "net"),
];

/// The rows of the page's table below this heading, without its head.
fn table(heading: &str) -> Result<Vec<Vec<&'static str>>> {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(heading));
    let section = section.with_context(|| format!("no section {heading}"))?;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = |row: &'static str| row.trim_end_matches(" |").split(" | ").map(str::trim);
    let rows: Vec<Vec<_>> = rows.map(|row| cells(row).collect()).skip(1).collect();
    ensure!(!rows.is_empty(), "no table in section {heading}");
    Ok(rows)
}

/// `A B` or `all but A B`, as the kernel's mask.
fn mask(words: &str) -> Result<u64> {
    let all = (1 << CAPABILITIES.len()) - 1;
    let (names, is_rest) = match words.strip_prefix("all but ") {
        Some(names) => (names, true),
        None => (words, false),
    };
    let mut named = 0;
    for name in names.split_whitespace() {
        let number = CAPABILITIES.iter().position(|known| *known == name);
        named |= 1u64 << number.with_context(|| format!("no capability {name}"))?;
    }
    Ok(if is_rest { all & !named } else { named })
}

#[test]
fn each_daemon_has_the_rights_that_the_page_says_and_no_others() -> Result<()> {
    let test = Test::named("privilege")?;
    // Nothing comes from there, but the updater runs.
    let update = "sources = [\"/nowhere\"]\nchannel = \"stable\"\n";
    let config = Config::new().file("skeg/update.toml", update);
    let host = host(&test, config)?;
    let machine = &host.machine;
    granted(machine, |daemon| daemon != CONFIG)?;
    sockets(machine)?;
    let refused = machine.refused_calls()?;
    ensure!(refused.is_empty(), "a host that is well: {refused}");
    tried(machine, |daemon| daemon != CONFIG)?;
    // Nothing of all that was tried has done any harm.
    let status = machine.skeg(&["status"])?;
    ensure!(!status.contains("service-failing"), "{status}");
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn what_reads_the_configuration_has_the_rights_that_the_page_says_and_no_others() -> Result<()> {
    let test = Test::named("privilege-config")?;
    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let bad = r#"{"ignition": {"version": "3.4.0"}, "storage": {"fils": []}}"#;
    let machine = test.boot(&image).with_disk(&disk);
    let machine = machine.hand_over("opt/com.coreos/config", bad).start()?;
    let waits = "no unit starts before this is mended";
    machine.console().wait(waits, READY)?;
    granted(&machine, |daemon| daemon == CONFIG)?;
    let refused = machine.refused_calls()?;
    ensure!(refused.is_empty(), "nothing was tried yet: {refused}");
    tried(&machine, |daemon| daemon == CONFIG)?;
    machine.console().check_for_oops()?;
    test.passed();
    Ok(())
}

/// These have what the page says.
fn granted(machine: &Running, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for row in table("Daemons")? {
        let [daemon, user, capabilities, no_new, filter] = row[..] else {
            anyhow::bail!("expected five cells, found {row:?}");
        };
        if wanted(daemon) {
            has(
                machine,
                daemon,
                user,
                mask(capabilities)?,
                no_new == "yes",
                filter == "yes",
            )
            .with_context(|| format!("service {daemon}"))?;
        }
    }
    Ok(())
}

fn has(
    machine: &Running,
    daemon: &str,
    user: &str,
    capabilities: u64,
    no_new_privileges: bool,
    is_filtered: bool,
) -> Result<()> {
    let pid = machine.service_pid(daemon)?;
    let status = machine.read(&format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_default().to_owned()
    };
    let uid = uid(machine, user)?;
    ensure!(
        field("Uid") == format!("{uid}\t{uid}\t{uid}\t{uid}"),
        "user: {status}"
    );
    let ambient = if uid == 0 { 0 } else { capabilities };
    for (set, expected) in [
        ("CapPrm", capabilities),
        ("CapEff", capabilities),
        ("CapBnd", capabilities),
        ("CapAmb", ambient),
    ] {
        let found = u64::from_str_radix(&field(set), 16)?;
        ensure!(
            found == expected,
            "{set}: expected {expected:016x}, found {found:016x}"
        );
    }
    let yes = |is: bool, yes: &str| if is { yes.to_owned() } else { "0".to_owned() };
    ensure!(
        field("NoNewPrivs") == yes(no_new_privileges, "1"),
        "no_new_privs: {status}"
    );
    ensure!(
        field("Seccomp") == yes(is_filtered, "2"),
        "seccomp: {status}"
    );
    ensure!(field("Groups").trim().is_empty(), "groups: {status}");
    Ok(())
}

fn uid(machine: &Running, user: &str) -> Result<u32> {
    let passwd = machine.read(formats::paths::ACCOUNTS)?;
    let found = formats::accounts::user(&passwd, user);
    Ok(found
        .with_context(|| format!("no user {user} in {passwd}"))?
        .0)
}

fn sockets(machine: &Running) -> Result<()> {
    for row in table("Files and sockets")? {
        let [path, owner, mode, _] = row[..] else {
            anyhow::bail!("expected four cells, found {row:?}");
        };
        let path = path.trim_matches('`').trim_end_matches('/');
        let stat = machine.agent()?.stat(path)?;
        let user = owner.split(':').next().unwrap_or(owner);
        ensure!(
            stat.uid == uid(machine, user)?,
            "{path}: owner {}",
            stat.uid
        );
        let expected = u32::from_str_radix(mode, 8)?;
        ensure!(
            stat.mode == expected,
            "{path}: expected {mode}, found {:o}",
            stat.mode
        );
    }
    Ok(())
}

/// Tries everything in the place of these daemons.
fn tried(machine: &Running, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let rows = table("What is tried")?;
    let mut wrong = Vec::new();
    for (at, (daemon, writable, other)) in DAEMONS.iter().enumerate() {
        if !wanted(daemon) {
            continue;
        }
        let pid = machine.service_pid(daemon)?.to_string();
        let other = machine.service_pid(other)?.to_string();
        let filter = format!("/usr/lib/skeg/seccomp/{daemon}.bpf");
        let said = machine.ok([
            "/usr/lib/skeg/agent",
            "probe",
            &pid,
            &other,
            &filter,
            writable,
        ])?;
        ensure!(said.lines().count() == rows.len(), "{daemon}: {said}");
        for row in &rows {
            let expected = format!("{}: {}", row[0], row[at + 1]);
            if !said.lines().any(|line| line == expected) {
                let found = said.lines().find(|line| line.starts_with(row[0]));
                wrong.push(format!("{daemon}: expected {expected}, found {found:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
