//! Containers by `skeg oci`, from create to delete, for whoever runs the tests: root or not.
//!
//! Each has a user namespace, so that no privilege is needed; cgroups are left to the machine tests.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle with busybox for a root, and a place for states.
struct Bundle(TempDir);

impl Bundle {
    /// The specification that `spec --rootless` writes, with this program.
    fn new(script: &str) -> Self {
        let bundle = Self(TempDir::new().expect("a folder"));
        let bin = bundle.path().join("rootfs/bin");
        for folder in ["bin", "proc", "sys", "dev"] {
            fs::create_dir_all(bundle.path().join("rootfs").join(folder)).expect("a rootfs");
        }
        fs::copy("/bin/busybox", bin.join("busybox")).expect("apt-get install busybox-static");
        for applet in ["sh", "sleep", "cat", "id", "readlink", "touch"] {
            symlink("busybox", bin.join(applet)).expect("a link");
        }
        bundle.succeeds(&["spec", "--rootless"]);
        bundle.change(|config| {
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = json!(["sh", "-c", script]);
        });
        bundle
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let text = fs::read_to_string(&path).expect("a configuration");
        let mut config = serde_json::from_str(&text).expect("JSON");
        change(&mut config);
        fs::write(path, config.to_string()).expect("a configuration");
    }

    fn skeg(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_skeg"))
            .args(["oci", "--cgroup-manager", "disabled", "--root"])
            .arg(self.path().join("state"))
            .args(words)
            .current_dir(self.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("skeg runs")
    }

    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.skeg(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.succeeds(&["state", "c"])).expect("JSON");
        state["status"].as_str().expect("a status").to_owned()
    }

    /// Creates and starts one that stays. Its output is nobody's, so that nobody waits for its end.
    fn started(&self) {
        for verb in ["create", "start"] {
            let status = Command::new(env!("CARGO_BIN_EXE_skeg"))
                .args(["oci", "--cgroup-manager", "disabled", "--root"])
                .arg(self.path().join("state"))
                .args([verb, "c"])
                .current_dir(self.path())
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.expect("skeg runs").success(), "{verb}");
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.skeg(&["delete", "--force", "c"]);
    }
}

#[test]
fn run_gives_the_output_and_the_status_of_the_program_and_leaves_nothing() {
    let bundle = Bundle::new("id -u; readlink /proc/self; exit 7");
    let output = bundle.skeg(&["run", "c"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n3\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(!bundle.path().join("state/c").exists());
}

#[test]
fn a_container_is_created_started_entered_killed_and_deleted() {
    let bundle = Bundle::new("exec sleep 600");
    bundle.started();
    assert_eq!(bundle.status(), "running");
    assert_eq!(
        bundle.succeeds(&["exec", "c", "cat", "/proc/1/comm"]),
        "sleep"
    );
    let refused = bundle.skeg(&["delete", "c"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("that is not stopped"));
    let missing = bundle.skeg(&["exec", "c", "nothing-here"]);
    let told = String::from_utf8_lossy(&missing.stderr);
    assert!(
        told.contains("executable file `nothing-here` not found in $PATH"),
        "{told}"
    );
    bundle.succeeds(&["delete", "--force", "c"]);
    assert!(!bundle.path().join("state/c").exists());
}

#[test]
fn a_program_that_is_not_there_fails_the_create_and_leaves_nothing() {
    let bundle = Bundle::new("");
    bundle.change(|config| config["process"]["args"] = json!(["nothing-here"]));
    let output = bundle.skeg(&["create", "c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!bundle.path().join("state/c").exists());
}

#[test]
fn hooks_run_in_their_order_and_one_that_fails_ends_the_create() {
    let bundle = Bundle::new("true");
    let log = bundle.path().join("hooks");
    let hook = |word: &str| {
        let script = format!("cat > /dev/null; echo {word} >> {}", log.display());
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", script]}])
    };
    bundle.change(|config| {
        config["hooks"] = json!({
            "poststop": hook("poststop"), "createRuntime": hook("createRuntime"),
            "poststart": hook("poststart"), "prestart": hook("prestart"),
        });
    });
    bundle.succeeds(&["run", "c"]);
    let ran = fs::read_to_string(&log).expect("hooks ran");
    assert_eq!(ran, "prestart\ncreateRuntime\npoststart\npoststop\n");
    bundle.change(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]});
    });
    let output = bundle.skeg(&["run", "c"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("hook /bin/false: exited with status 1"),
        "{told}"
    );
    assert!(!bundle.path().join("state/c").exists());
}

/// CVE-2019-5736: whoever holds the runtime's program open once it has ended may write to it, if
/// anybody may.
#[test]
fn the_runtime_s_program_cannot_be_written_through_a_container_s_process() {
    let bundle = Bundle::new("true");
    let status = Command::new(env!("CARGO_BIN_EXE_skeg"))
        .args(["oci", "--cgroup-manager", "disabled", "--root"])
        .arg(bundle.path().join("state"))
        .args(["create", "c"])
        .current_dir(bundle.path())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.expect("skeg runs").success());
    let state: Value = serde_json::from_str(&bundle.succeeds(&["state", "c"])).expect("JSON");
    let held = fs::File::open(format!("/proc/{}/exe", state["pid"]));
    bundle.succeeds(&["delete", "--force", "c"]);
    // A user to whom even the look is refused is no danger.
    if let Ok(held) = held {
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let error = fs::File::options()
            .write(true)
            .open(path)
            .expect_err("it is read-only");
        assert_ne!(error.raw_os_error(), Some(26), "busy is no protection");
    }
}
