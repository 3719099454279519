//! A host is what its Ignition says: on its first boot, on each later one, and when the source is gone
//! or has become bad.
//!
//! The documents are such as Butane makes; what the host made of them is read by the test channel.

use anyhow::{Context, Result, ensure};
use qemu_tests::artefacts::Test;
use qemu_tests::disk::Config;
use qemu_tests::fixtures::registry::Registry;
use qemu_tests::fixtures::web;
use qemu_tests::scene::{READY, pushed};
use qemu_tests::{Disk, Image, Running};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const COREOS: &str = "opt/com.coreos/config";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f core@laptop";

fn data(text: &str) -> Value {
    let escaped: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
    json!({ "source": format!("data:,{escaped}") })
}

/// A web server as a Quadlet, a user with a key, a name, data, and a line for `/etc/hosts`.
fn document(image: &str) -> Result<Value> {
    let unit = format!(
        "[Container]\nImage={image}\nPublishPort=8080:80\n[Install]\nWantedBy=multi-user.target\n"
    );
    let port = Registry::shared()?.port();
    let registries = format!("[[registry]]\nlocation = \"10.0.2.2:{port}\"\ninsecure = true\n");
    Ok(json!({
        "ignition": {"version": "3.4.0"},
        "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": [KEY]}]},
        "storage": {"files": [
            {"path": "/etc/hostname", "contents": data("web-1\n")},
            {"path": "/etc/containers/registries.conf", "contents": data(&registries)},
            {"path": "/etc/containers/systemd/web.container", "contents": data(&unit)},
            {"path": "/etc/hosts", "append": [data("10.0.0.9 db\n")]},
            {"path": "/etc/app/secret", "mode": 384, "user": {"name": "core"}, "contents": data("s3cret")},
            {"path": "/var/lib/app/seed", "contents": data("first"), "user": {"name": "core"}},
        ]},
    }))
}

/// Everything of [`document`] that a look at the host can find.
fn is_configured(machine: &Running) -> Result<()> {
    let page = qemu_tests::web::page(machine.port(8080)?, "/", READY)?;
    ensure!(page.contains("Skeg served this page"), "{page}");
    let hosts = machine.read("/etc/hosts")?;
    ensure!(
        hosts.contains("localhost"),
        "the image's lines are gone: {hosts}"
    );
    ensure!(hosts.matches("10.0.0.9 db").count() == 1, "{hosts}");
    ensure!(
        machine.read("/proc/sys/kernel/hostname")?.trim() == "web-1",
        "another name"
    );
    let passwd = machine.read("/etc/passwd")?;
    ensure!(passwd.contains("core:x:1000:1000:"), "{passwd}");
    let keys = machine.read("/etc/ssh/authorized_keys.d/core")?;
    ensure!(keys.trim() == KEY, "{keys}");
    let secret = machine.agent()?.stat("/etc/app/secret")?;
    ensure!(
        secret.mode & 0o777 == 0o600 && secret.uid == 1000,
        "{secret:?}"
    );
    ensure!(
        machine.agent()?.write("/etc/app/more", b"").is_err(),
        "/etc can be written to"
    );
    Ok(())
}

fn switch_off(mut machine: Running) -> Result<()> {
    machine.press_power_button()?;
    machine.wait_off(SOON)
}

#[test]
fn a_host_is_what_its_ignition_says_and_stays_so_without_it_and_with_a_bad_one() -> Result<()> {
    let test = Test::named("ignition")?;
    let image = Image::built("test")?;
    let good = document(&pushed(web::image(), "web")?)?.to_string();
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let machine = || test.boot(&image).with_disk(&disk).forward(8080);

    let first = machine().hand_over(COREOS, &good).start()?;
    first.console().wait("unit:web", READY)?;
    is_configured(&first).context("the first boot")?;
    ensure!(first.read("/var/lib/app/seed")? == "first", "no data");
    let shown = first.skeg(&["config", "show"])?;
    ensure!(
        shown.starts_with("generation 2 from fw_cfg:opt/com.coreos/config\n"),
        "{shown}"
    );
    ensure!(!shown.contains("s3cret"), "a secret is shown: {shown}");
    first.agent()?.write("/var/lib/app/seed", b"used")?;
    switch_off(first)?;

    let second = machine().start()?;
    second.console().wait("unit:web", READY)?;
    is_configured(&second).context("without the source")?;
    ensure!(
        second.read("/var/lib/app/seed")? == "used",
        "data was overwritten"
    );
    let status = second.skeg(&["status"])?;
    ensure!(!status.contains("config-"), "a trouble: {status}");
    switch_off(second)?;

    let bad = good.replace("\"path\":\"/etc/hostname\"", "\"paht\":\"/etc/hostname\"");
    let third = machine().hand_over(COREOS, &bad).start()?;
    third
        .console()
        .wait("unknown field, did you mean path?", READY)?;
    third.console().wait("unit:web", READY)?;
    is_configured(&third).context("with a bad source")?;
    let status = third.skeg(&["status"])?;
    ensure!(status.contains("config-refused"), "{status}");
    third.console().check_for_oops()?;
    test.passed();
    Ok(())
}

#[test]
fn a_bad_first_configuration_is_named_with_its_place_and_no_unit_starts() -> Result<()> {
    let test = Test::named("bad-ignition")?;
    let image = Image::built("test")?;
    let disk = Disk::fresh(&test, &image, &Config::new())?;
    let bad = "{\n  \"ignition\": {\"version\": \"3.4.0\"},\n  \"storage\": {\"fils\": []}\n}\n";
    let machine = test.boot(&image).with_disk(&disk);
    // Two consoles: the error is on both.
    let machine = machine.kernel_option("console=tty0 console=ttyS0");
    let machine = machine
        .hand_over("opt/org.flatcar-linux/config", bad)
        .start()?;
    let told = "fw_cfg:opt/org.flatcar-linux/config:3:15: storage.fils: unknown field, did you mean files?";
    machine.console().wait(told, READY)?;
    machine
        .console()
        .wait("no unit starts before this is mended", SOON)?;
    let status = machine.read("/run/skeg/status.json")?;
    ensure!(
        status.contains("config-missing") && status.contains("storage.fils"),
        "{status}"
    );
    let screen = machine.agent()?.read("/dev/vcs")?;
    let screen = String::from_utf8_lossy(&screen).into_owned();
    ensure!(
        screen.contains("storage.fils"),
        "not on the screen: {screen}"
    );
    let engine = machine.service_pid("engine");
    ensure!(engine.is_err(), "the engine runs: {engine:?}");
    test.passed();
    Ok(())
}

/// A server that cannot answer at first, then has `document` at every path that ends with `ending`.
fn serve(ending: &'static str, document: String) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(&stream);
            let mut first = String::new();
            let _ = reader.read_line(&mut first);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let found = first
                .split(' ')
                .nth(1)
                .is_some_and(|path| path.ends_with(ending));
            let (status, body) = match (count, found) {
                (0, _) => ("503 Not Yet", ""),
                (_, true) => ("200 OK", document.as_str()),
                (_, false) => ("404 Not Found", ""),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    Ok(port)
}

#[test]
fn a_configuration_comes_from_a_server_the_esp_a_seed_or_a_volume() -> Result<()> {
    let test = Test::named("ignition-sources")?;
    let image = Image::built("test")?;
    let document = |text: &str| {
        let file = json!({"path": "/etc/source", "contents": data(text)});
        json!({"ignition": {"version": "3.0.0"}, "storage": {"files": [file]}}).to_string()
    };
    let fresh = || Disk::fresh(&test, &image, &Config::new());
    let url = format!(
        "http://10.0.2.2:{}/host.ign",
        serve("/host.ign", document("url"))?
    );
    let seed = format!(
        "ds=nocloud;s=http://10.0.2.2:{}/seed",
        serve("/seed/user-data", document("seed"))?
    );
    let (one, two, three, four) = (fresh()?, fresh()?, fresh()?, fresh()?);
    two.put_on_esp("skeg", "config.ign", &document("esp"))?;
    let volume = Disk::volume(&test, "CIDATA", "user-data", &document("volume"))?;
    let boot = || test.boot(&image);
    for (source, machine) in [
        (
            "url",
            boot()
                .with_disk(&one)
                .kernel_option(&format!("ignition.config.url={url}")),
        ),
        ("esp", boot().with_disk(&two)),
        ("seed", boot().with_disk(&three).serial_number(&seed)),
        (
            "volume",
            boot().with_disk(&four).with_read_only_disk(&volume),
        ),
    ] {
        let machine = machine.start()?;
        machine.console().wait("service:engine", READY)?;
        let found = machine
            .read("/etc/source")
            .with_context(|| format!("from {source}"))?;
        ensure!(found == source, "expected {source}, found {found}");
    }
    test.passed();
    Ok(())
}
