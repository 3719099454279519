//! Which source is asked, and that the first that has a configuration is the only one.
//!
//! A machine of folders: what the kernel, QEMU and the firmware would show.

use config::http::Settings;
use config::source::{Places, given, handed_over};
use std::fs;
use std::path::Path;
use std::time::Duration;

fn machine(folder: &Path, command_line: &str) -> Places {
    for name in ["firmware", "machine", "class", "devices"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("cmdline"), command_line).unwrap();
    Places {
        command_line: folder.join("cmdline"),
        firmware: folder.join("firmware"),
        machine: folder.join("machine"),
        class: folder.join("class"),
        devices: folder.join("devices"),
        mount: folder.join("mount"),
        is_apart: false,
        // Where nobody listens.
        metadata: Some("http://127.0.0.1:1".to_owned()),
    }
}

fn settings() -> Settings {
    Settings {
        total: Some(Duration::from_secs(1)),
        ..Settings::default()
    }
}

fn hand_over(folder: &Path, name: &str, text: &str) {
    let entry = folder.join("firmware").join(name);
    fs::create_dir_all(&entry).unwrap();
    fs::write(entry.join("raw"), text).unwrap();
}

#[test]
fn a_machine_that_nobody_says_anything_to_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let places = machine(folder.path(), "quiet console=ttyS0\n");
    assert_eq!(given(&places, &settings()), Ok(None));
}

#[test]
fn what_the_hypervisor_hands_over_is_found_by_its_three_names() {
    let folder = tempfile::tempdir().unwrap();
    let places = machine(folder.path(), "");
    for name in [
        "opt/org.flatcar-linux/config",
        "opt/com.coreos/config",
        "opt/org.skeg/config",
    ] {
        hand_over(folder.path(), name, name);
        let document = handed_over(&places).unwrap().unwrap();
        assert_eq!(document.name, format!("fw_cfg:{name}"));
        assert_eq!(given(&places, &settings()).unwrap(), Some(document));
    }
    hand_over(folder.path(), "opt/org.skeg/config", "");
    let document = handed_over(&places).unwrap().unwrap();
    assert_eq!(
        document.name, "fw_cfg:opt/com.coreos/config",
        "an empty one is none"
    );
}

#[test]
fn the_command_line_comes_first_and_a_source_that_does_not_answer_is_no_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let line = "ignition.config.url=http://127.0.0.1:1/host.ign?token=s3cret";
    let places = machine(folder.path(), line);
    hand_over(folder.path(), "opt/com.coreos/config", "{}");
    let error = given(&places, &settings()).unwrap_err();
    assert!(
        error.contains("127.0.0.1:1/host.ign") && !error.contains("s3cret"),
        "{error}"
    );
}

#[test]
fn a_machine_at_a_provider_whose_service_is_out_says_so_and_does_not_go_without() {
    let folder = tempfile::tempdir().unwrap();
    let places = machine(folder.path(), "");
    fs::write(folder.path().join("machine/sys_vendor"), "Hetzner\n").unwrap();
    assert!(given(&places, &settings()).is_err());
    let named = machine(folder.path(), "ignition.platform.id=aws");
    assert!(
        given(&named, &settings())
            .unwrap_err()
            .contains("/latest/api/token")
    );
    let none = machine(folder.path(), "ignition.platform.id=metal");
    assert_eq!(given(&none, &settings()), Ok(None));
    let unknown = machine(folder.path(), "ignition.platform.id=mars");
    assert!(
        given(&unknown, &settings())
            .unwrap_err()
            .contains("expected aws")
    );
}
