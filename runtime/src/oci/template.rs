//! spec: a `config.json` to start from.
//!
//! It never replaces a file.

use std::io::Write;

use serde_json::{Value, json};

use super::args::Template;
use super::error::Error;
use super::state::OCI_VERSION;
use crate::container::masks;

pub(super) fn write(options: &Template) -> Result<(), Error> {
    let path = options.bundle.join("config.json");
    let failed = |error| Error::file("write", &path, error);
    let mut file = std::fs::File::create_new(&path).map_err(failed)?;
    let text = serde_json::to_string_pretty(&template(options.rootless))
        .map_err(|error| Error::io("write", error))?;
    file.write_all(format!("{text}\n").as_bytes())
        .map_err(failed)
}

fn template(rootless: bool) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    namespaces.push(if rootless { "user" } else { "network" });
    let namespaces: Vec<Value> = namespaces
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    let mut linux = json!({
        "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        "namespaces": namespaces,
        "maskedPaths": masks::MASKED,
        "readonlyPaths": masks::READONLY,
    });
    if rootless {
        let ids = [
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        ];
        for (key, id) in [("uidMappings", ids[0]), ("gidMappings", ids[1])] {
            linux[key] = json!([{"containerID": 0, "hostID": id, "size": 1}]);
        }
        linux["resources"] = json!({});
    }
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "skeg",
        "mounts": mounts(rootless),
        "linux": linux,
    })
}

fn mounts(rootless: bool) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let mut pts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    if !rootless {
        pts.push("gid=5");
    }
    let sealed = ["nosuid", "noexec", "nodev", "ro"];
    vec![
        mount("/proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", &shm),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &sealed),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}
