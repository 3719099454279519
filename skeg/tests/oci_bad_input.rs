//! What `skeg oci` says of input that is wrong: the text, the exit code, and that nothing is left.
//!
//! No container is made, so no privilege is needed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A bundle, a place for states, and a log.
struct Place(TempDir);

impl Place {
    fn new(config: &str) -> Self {
        let place = Self(TempDir::new().expect("a folder"));
        fs::create_dir(place.0.path().join("rootfs")).expect("a rootfs");
        fs::write(place.0.path().join("config.json"), config).expect("a configuration");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn skeg(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_skeg"))
            .arg("oci")
            .arg("--root")
            .arg(self.path().join("state"))
            .arg("--log")
            .arg(self.path().join("log"))
            .args(["--log-format", "json"])
            .args(words)
            .current_dir(self.path())
            .output()
            .expect("skeg runs")
    }
}

/// A configuration that is right but for one field, by its JSON pointer.
fn config(pointer: &str, value: &str) -> String {
    const RIGHT: &str = r#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "mounts": [], "hostname": "", "hooks": {},
        "linux": {"rootfsPropagation": "", "namespaces": [{"type": "mount"}],
            "uidMappings": [], "gidMappings": [], "sysctl": {}}}"#;
    let mut config: serde_json::Value = serde_json::from_str(RIGHT).expect("JSON");
    let field = config.pointer_mut(pointer).expect("a field");
    *field = serde_json::from_str(value).expect("JSON");
    config.to_string()
}

/// What is wrong, where, and what is said of it.
const WRONG: [(&str, &str, &str); 20] = [
    (
        "/ociVersion",
        r#""9.1.0""#,
        r#"ociVersion: expected 1.x, found "9.1.0""#,
    ),
    ("/root/path", r#""nothing""#, "open rootfs"),
    ("/root/path", r#""""#, "root.path: empty"),
    (
        "/process/cwd",
        r#""srv""#,
        r#"process.cwd: "srv" is not an absolute path"#,
    ),
    ("/process/args", "[]", "process.args: empty"),
    (
        "/hostname",
        r#""web""#,
        "hostname: it needs a UTS namespace",
    ),
    (
        "/linux/rootfsPropagation",
        r#""up""#,
        r#"rootfsPropagation: "up" is unknown"#,
    ),
    ("/linux/namespaces", "[]", "needs a new mount namespace"),
    (
        "/linux/namespaces",
        r#"[{"type": "dream"}]"#,
        "unknown variant `dream`",
    ),
    (
        "/linux/namespaces",
        r#"[{"type": "mount"}, {"type": "user"}]"#,
        "a user namespace needs uidMappings and gidMappings",
    ),
    (
        "/linux/uidMappings",
        r#"[{"containerID": 0, "hostID": 0, "size": 9}, {"containerID": 8, "hostID": 90, "size": 1}]"#,
        "linux.uidMappings: 8 90 1 overlaps 0 0 9",
    ),
    (
        "/linux/namespaces",
        r#"[{"type": "mount"}, {"type": "pid"}, {"type": "pid"}]"#,
        "linux.namespaces: pid is there twice",
    ),
    (
        "/linux",
        r#"{"resources": []}"#,
        "linux.resources: expected an object, found a list",
    ),
    (
        "/linux",
        r#"{"resources": {"memory": {"swap": 9}}}"#,
        "needs memory.limit",
    ),
    (
        "/linux",
        r#"{"resources": {"memory": {"swap": 9, "limit": 10}}}"#,
        "expected memory.limit 10 or more, found 9",
    ),
    (
        "/hooks",
        r#"{"createRuntime": [{"path": "/bin/true", "timeout": 0}]}"#,
        "expected a timeout of more than 0 s",
    ),
    (
        "/hooks",
        r#"{"createRuntime": [{"path": "/bin/true", "timeout": -1}]}"#,
        "expected a timeout of more than 0 s",
    ),
    (
        "/linux/sysctl",
        r#"{"kernel.panic": "1"}"#,
        "belongs to no namespace",
    ),
    (
        "/mounts",
        r#"[{"destination": "/x/..", "type": "tmpfs"}]"#,
        "is the root itself",
    ),
    (
        "/mounts",
        r#"[{"destination": "/x", "type": "bind", "source": "/tmp", "options": ["bind", "wild"]}]"#,
        r#"option "wild" is unknown for a bind"#,
    ),
];

#[test]
fn a_wrong_configuration_is_refused_by_its_field_and_leaves_nothing() {
    for (pointer, value, said) in WRONG {
        let place = Place::new(&config(pointer, value));
        let output = place.skeg(&["create", "--dry-run", "web"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{pointer} {value}: {told}");
        assert!(told.contains(said), "{pointer} {value}: {told}");
        assert!(!place.path().join("state/web").exists(), "{pointer}");
    }
}

#[test]
fn what_is_no_configuration_at_all_is_refused() {
    for text in ["", "{", "[]", "null", "7", r#"{"ociVersion": 7}"#] {
        let place = Place::new(text);
        let output = place.skeg(&["run", "web"]);
        assert_eq!(output.status.code(), Some(1), "{text:?}");
        assert!(!place.path().join("state/web").exists(), "{text:?}");
    }
    let place = Place::new("{}");
    let output = place.skeg(&["run", "--bundle", "nowhere", "web"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("open bundle `nowhere`"), "{told}");
}

#[test]
fn a_container_that_is_not_there_does_not_exist_for_any_command() {
    let place = Place::new("{}");
    for words in [
        &["state", "web"][..],
        &["start", "web"],
        &["kill", "web", "TERM"],
        &["delete", "web"],
        &["exec", "web", "true"],
        &["pause", "web"],
        &["ps", "web"],
    ] {
        let output = place.skeg(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains("does not exist"), "{words:?}: {told}");
    }
    let forced = place.skeg(&["delete", "--force", "web"]);
    assert!(forced.status.success(), "nothing to remove is no error");
}

#[test]
fn an_id_that_is_a_path_is_refused_before_anything_is_looked_at() {
    let place = Place::new(&config("/hostname", r#""""#));
    for id in ["a/b", "../x", "..", "a b"] {
        let output = place.skeg(&["create", id]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{id}");
        assert!(
            told.contains("in the ID") || told.contains("invalid ID"),
            "{told}"
        );
    }
    assert!(!place.path().join("state").exists());
}

#[test]
fn an_error_is_a_line_of_json_in_the_log_that_callers_read() {
    let place = Place::new("{}");
    place.skeg(&["state", "web"]);
    let log = fs::read_to_string(place.path().join("log")).expect("a log");
    let line: serde_json::Value = serde_json::from_str(log.trim()).expect("one line of JSON");
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("`web` does not exist"))
    );
    assert!(
        line["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
}
