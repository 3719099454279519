//! The fixtures themselves, judged by skopeo: what a test blames on Skeg must not be theirs.
//!
//! No machine is booted; apt, skopeo and the registry are needed.

use qemu_tests::fixtures::faulty::{Fault, Faulty};
use qemu_tests::fixtures::registry::Registry;
use qemu_tests::fixtures::{tools, web};
use std::process::Command;

/// Copies an image out of a registry on the loopback; skopeo's complaint if it refuses.
fn pull(port: u16, name: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("skopeo")
        .args(["copy", "--insecure-policy", "--src-tls-verify=false", "-q"])
        .args(["--retry-times", "0"])
        .arg(format!("docker://127.0.0.1:{port}/{name}:1"))
        .arg(format!("dir:{}", folder.path().display()))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(error)
}

#[test]
fn what_was_pushed_can_be_pulled() {
    let registry = Registry::shared().unwrap();
    for (name, layout) in [("web", web::image()), ("tools", tools::image())] {
        registry.push(&layout.unwrap(), name).unwrap();
        pull(registry.port(), name).unwrap();
    }
}

#[test]
fn a_faulty_registry_is_refused_by_skopeo_and_one_without_fault_is_not() {
    let layout = tools::image().unwrap();
    let honest = Faulty::serve(&layout, Fault::None).unwrap();
    pull(honest.port(), "tools").unwrap();
    for fault in [Fault::WrongDigest, Fault::TooLong, Fault::TooShort] {
        let faulty = Faulty::serve(&layout, fault).unwrap();
        assert!(pull(faulty.port(), "tools").is_err(), "{fault:?}");
    }
}
