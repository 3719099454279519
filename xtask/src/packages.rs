//! The Debian packages that building and running need; installs what is missing.
//!
//! It says what it will do before it does it, and touches nothing when nothing is missing.

use crate::{Outcome, progress};
use std::path::Path;
use std::process::{Command, Stdio};

/// A package, and what it is for.
struct Package {
    name: &'static str,
    purpose: &'static str,
}

const fn package(name: &'static str, purpose: &'static str) -> Package {
    Package { name, purpose }
}

/// Nothing here starts a daemon on this machine. Kernel, firmware and loader are not installed: the
/// image builder fetches pinned packages and unpacks them under `target/`.
const NEEDED: [Package; 23] = [
    package("qemu-system-x86", "the machine"),
    package(
        "util-linux",
        "setpriv, so that no machine outlives its test",
    ),
    package("gcc", "the linker"),
    package("libc6-dev", "the static C library of the guest's programs"),
    package("libseccomp-dev", "libseccomp.a"),
    package("binutils", "to look into the built programs"),
    package("mtools", "to fill the ESP without mounting it"),
    package("dosfstools", "mkfs.vfat, fsck.vfat"),
    package("e2fsprogs", "mkfs.ext4, e2fsck"),
    package("xz-utils", "packed kernel modules"),
    package("libostree-dev", "to publish releases"),
    package("pkg-config", "finds libostree"),
    package("zstd", "to measure what a release weighs on the wire"),
    package("cpio", "the machine that compares OCI runtimes"),
    package("skopeo", "pushes the demo's image"),
    package(
        "busybox-static",
        "what the runtime's tests run in their containers",
    ),
    package("iproute2", "network namespaces of the tests"),
    package("nftables", "to look at the rules that the tests make"),
    package("openssh-client", "the client of the tests of SSH"),
    package("dnsmasq-base", "the DHCP server of the network's tests"),
    package("ca-certificates", "the roots that the image trusts"),
    package(
        "protobuf-compiler",
        "protoc, which the client of etcd is built with",
    ),
    package("libprotobuf-dev", "the protocol files that protoc includes"),
];

/// Only for benchmarks: what builds the system that Skeg is compared with.
const BENCHMARKS: [Package; 3] = [
    package("mmdebstrap", "builds the peer, a Debian of its own"),
    package("fakeroot", "so that nobody needs root for its disk"),
    package("uidmap", "so that nobody needs root for its packages"),
];

/// Installs what is missing.
pub fn install() -> Outcome<()> {
    install_all(&NEEDED)
}

/// The same for benchmarks.
pub fn install_for_benchmarks() -> Outcome<()> {
    install_all(&BENCHMARKS)
}

fn install_all(needed: &[Package]) -> Outcome<()> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        return Err(
            "this is no Debian: dpkg-query is not here. Supported are Debian 12 and 13; \
                    elsewhere use a container or a VM of one"
                .to_owned(),
        );
    }
    let missing: Vec<&Package> = needed.iter().filter(|p| !is_installed(p.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("To be installed by apt:");
    for package in &missing {
        println!("  {:18} {}", package.name, package.purpose);
    }
    let names: Vec<&str> = missing.iter().map(|p| p.name).collect();
    let hint = format!("\nby hand: sudo apt-get install {}", names.join(" "));
    progress::quietly(
        "apt-get update",
        &mut as_root(&["apt-get", "-q", "update"])?,
    )
    .map_err(|e| e + &hint)?;
    let mut words = vec!["apt-get", "-qy", "install", "--no-install-recommends"];
    words.extend(&names);
    progress::quietly("apt-get install", &mut as_root(&words)?).map_err(|e| e + &hint)
}

fn is_installed(name: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", name])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

/// The command itself for root, else through sudo.
fn as_root(words: &[&str]) -> Outcome<Command> {
    let mut all = vec!["env", "DEBIAN_FRONTEND=noninteractive"];
    all.extend(words);
    if !is_root() {
        let path = std::env::var("PATH").unwrap_or_default();
        if !path.split(':').any(|p| Path::new(p).join("sudo").exists()) {
            return Err(format!(
                "packages are missing, this is not root, and there is no sudo; run as root:\n  {}",
                words.join(" ")
            ));
        }
        // Asked for now, while the terminal is free: the steps run without one.
        let asked = Command::new("sudo").arg("-v").status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err("sudo refused".to_owned());
        }
        all.splice(0..0, ["sudo"]);
    }
    let mut command = Command::new(all[0]);
    command.args(&all[1..]);
    Ok(command)
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}
