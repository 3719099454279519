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

/// What each process in the container may, as one in there sees it that may trace the others.
const WATCH: &str = "> /watching
    until [ -e /stop ]; do
        for p in /proc/[0-9]*; do
            while read -r key value; do case $key in CapEff:) echo $p $value;; esac; done < $p/status
        done
    done > /seen 2> /dev/null
    > /done; exec sleep 600";

#[test]
fn an_exec_is_seen_in_the_container_only_without_the_host_s_rights() {
    let bundle = Bundle::new(WATCH);
    let rights = json!(["CAP_KILL", "CAP_SYS_PTRACE"]);
    bundle.change(|config| {
        config["root"]["readonly"] = false.into();
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = rights.clone();
        }
    });
    bundle.started();
    let root = bundle.path().join("rootfs");
    let come = |name: &str| {
        while !root.join(name).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    come("watching");
    for _ in 0..40 {
        bundle.succeeds(&["exec", "c", "sleep", "0.01"]);
    }
    fs::write(root.join("stop"), "").expect("a file");
    come("done");
    let seen = fs::read_to_string(root.join("seen")).expect("what was seen");
    let all: std::collections::BTreeSet<(&str, &str)> = seen
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let pids: std::collections::BTreeSet<&str> = all.iter().map(|(pid, _)| *pid).collect();
    assert!(pids.len() > 3, "sessions were seen: {all:?}");
    let stronger = all
        .iter()
        .filter(|(_, rights)| *rights != "0000000000080020");
    let stronger: Vec<_> = stronger.collect();
    assert!(stronger.is_empty(), "{stronger:?}");
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

/// What a container that fails half-way could leave: mounts, a state, a process that is in its root.
fn left(bundle: &Bundle) -> (usize, bool, usize) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let own = bundle.path().to_string_lossy().into_owned();
    let mounts = mounts.lines().filter(|line| line.contains(&own)).count();
    let root = bundle.path().join("rootfs");
    let processes = fs::read_dir("/proc").expect("procfs").flatten();
    let inside = processes
        .filter(|one| fs::read_link(one.path().join("root")).is_ok_and(|at| at == root))
        .count();
    (mounts, bundle.path().join("state/c").exists(), inside)
}

#[test]
fn whichever_operation_of_the_plan_fails_it_is_told_and_nothing_is_left() {
    let bundle = Bundle::new("true");
    bundle.change(|config| {
        let hook = json!([{"path": "/bin/busybox", "args": ["true"]}]);
        config["hooks"] =
            json!({"createRuntime": hook, "createContainer": hook, "startContainer": hook});
    });
    let plan = bundle.succeeds(&["create", "--dry-run", "c"]);
    let before = left(&bundle);
    for number in 0.. {
        let output = Command::new(env!("CARGO_BIN_EXE_skeg"))
            .args(["oci", "--cgroup-manager", "disabled", "--root"])
            .arg(bundle.path().join("state"))
            .args(["run", "c"])
            .env("SKEG_FAIL_AT", number.to_string())
            .current_dir(bundle.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("skeg runs");
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert!(number >= 30, "only {number} operations failed:\n{plan}");
            return;
        }
        assert!(
            told.contains(&format!("injected {number}: ")),
            "{number}: {told}\n{plan}"
        );
        assert_eq!(output.status.code(), Some(1), "{number}: {told}");
        assert_eq!(left(&bundle), before, "after {number}");
    }
}

#[test]
fn a_start_hook_alone_is_told_that_the_container_is_created() {
    let bundle = Bundle::new("true");
    bundle.change(|config| {
        config["hooks"] = json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/shm/state; cat /dev/shm/state"]}]});
    });
    let told: Value = serde_json::from_str(&bundle.succeeds(&["run", "c"])).expect("the state");
    assert_eq!(told["status"], "created");
    assert_eq!(told["id"], "c");
}

#[test]
fn the_source_of_a_bind_may_be_relative_to_the_bundle() {
    let bundle = Bundle::new("cat /sys/file");
    fs::create_dir(bundle.path().join("data")).expect("a folder");
    fs::write(bundle.path().join("data/file"), "from the bundle").expect("a file");
    bundle.change(|config| {
        config["mounts"] = json!([{"destination": "/sys", "source": "data", "options": ["bind"]}]);
    });
    assert_eq!(bundle.succeeds(&["run", "c"]), "from the bundle");
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
        let write = || fs::File::options().write(true).open(&path);
        let refused = || write().expect_err("it is read-only").raw_os_error();
        // Other tests run the program, too, and while one does it is busy for everybody.
        let busy = Some(26);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while refused() == busy && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_ne!(refused(), busy, "busy is no protection");
    }
}
