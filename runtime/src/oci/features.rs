//! features: what this build and this kernel can do, as the specification's `features.md` has it.
//!
//! Nothing is claimed that is refused elsewhere.

use std::path::Path;

use serde_json::{Value, json};

use super::error::Error;
use super::query::print_json;
use super::state::OCI_VERSION;
use crate::container::capabilities::NAMES;
use crate::container::mount_options;

/// The lines of `--version`, as callers read them.
pub(super) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("skeg-oci version {version}\nspec: {OCI_VERSION}\n+CAP +SECCOMP +EBPF +CGROUPFS\n")
}

pub(super) fn print() -> Result<(), Error> {
    print_json(&features())
}

fn features() -> Value {
    let exists = |path: &str| Path::new(path).exists();
    let namespaces: Vec<&str> = [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mount", "mnt"),
        ("network", "net"),
        ("pid", "pid"),
        ("time", "time"),
        ("user", "user"),
        ("uts", "uts"),
    ]
    .into_iter()
    .filter(|(_, file)| exists(&format!("/proc/self/ns/{file}")))
    .map(|(name, _)| name)
    .collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart",
            "poststop"],
        "mountOptions": mount_options::known(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities(),
            "cgroup": {
                "v1": false,
                "v2": true,
                "systemd": false,
                "systemdUser": false,
                "rdma": controller("rdma"),
            },
            "seccomp": seccomp(),
            "apparmor": {"enabled": exists("/sys/kernel/security/apparmor")},
            "selinux": {"enabled": exists("/sys/fs/selinux")},
            "intelRdt": {"enabled": false},
            "memoryPolicy": {"modes": [], "flags": []},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": false},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    })
}

/// Those that are known here and to the kernel.
fn capabilities() -> Vec<String> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
    let last = last.ok().and_then(|text| text.trim().parse().ok());
    let count = last.map_or(NAMES.len(), |last: usize| last + 1);
    let known = NAMES.iter().take(count);
    known.map(|name| format!("CAP_{name}")).collect()
}

fn controller(name: &str) -> bool {
    let all = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.split_whitespace().any(|one| one == name)
}

fn seccomp() -> Value {
    json!({
        "enabled": Path::new("/proc/sys/kernel/seccomp").exists(),
        "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP"],
        "operators": ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE",
            "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"],
        "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64",
            "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
            "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE",
            "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_X32",
            "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        "knownFlags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "supportedFlags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_LOG"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursive_options_stand_beside_the_plain_ones() {
        let features = features();
        let options = features["mountOptions"].as_array().unwrap();
        for option in [
            "ro",
            "rro",
            "rbind",
            "rslave",
            "idmap",
            "tmpcopyup",
            "rnosymfollow",
        ] {
            assert!(options.contains(&option.into()), "{option}");
        }
    }
}
