//! The peer: Debian 13 with systemd, podman by Quadlet and crun, as small as its packages allow.
//!
//! Built without loop mounts, by mmdebstrap and `mke2fs -d`; it is given every advantage that a
//! careful administrator would give it, and nothing that Debian does not ship.

use crate::Image;
use crate::image::target;
use crate::narrate::step;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For the table.
pub const NAME: &str = "Debian 13, systemd, podman (Quadlet, crun)";

/// Raise it when this file builds something else.
const RECIPE: u32 = 1;

/// Without recommended packages. The kernel's package is added by its version.
const PACKAGES: [&str; 10] = [
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "podman",
    "crun",
    "netavark",
    "nftables",
    "initramfs-tools",
    "zstd",
];

/// Housekeeping that a benchmark must not measure as the system's weight.
const MASKED: &str = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
                      e2scrub_all.timer e2scrub_reap.service";

/// `quiet`, as Debian boots; no check of the file system on the way.
const COMMAND_LINE: &str = "root=/dev/vda rw console=ttyS0,115200 panic=10 quiet fsck.mode=skip";

/// A built peer that never booted.
pub struct Built {
    /// Kernel, initramfs and command line.
    pub image: Image,
    /// Its root, an ext4 file system.
    pub disk: PathBuf,
    /// Bytes of all files, kernel and initramfs included.
    pub bytes: u64,
}

/// What makes one peer another.
#[must_use]
pub fn recipe(kernel: &str) -> String {
    let files = files();
    format!("{RECIPE} {PACKAGES:?} {MASKED} {COMMAND_LINE} {kernel} {files:?}")
}

/// The version in a kernel's header, e.g. `6.12.117+deb13-cloud-amd64` (Linux, `x86/boot.rst`:
/// the pointer at 0x20e counts from 0x200).
///
/// # Errors
/// It is no such kernel.
pub fn kernel_version(kernel: &Path) -> Result<String> {
    let bytes = std::fs::read(kernel).with_context(|| format!("read {}", kernel.display()))?;
    let pointer = bytes
        .get(0x20e..0x210)
        .context("a kernel without a header")?;
    let at = 0x200 + usize::from(u16::from_le_bytes([pointer[0], pointer[1]]));
    let text = bytes
        .get(at..at + 128)
        .context("a kernel without a version")?;
    let text = String::from_utf8_lossy(text).into_owned();
    match text.split([' ', '\0']).next() {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            Ok(version.to_owned())
        }
        _ => bail!("{}: no version in its header", kernel.display()),
    }
}

/// Builds it in a folder, or takes what is there.
///
/// # Errors
/// What mmdebstrap, tar or mke2fs say.
pub fn build(home: &Path, kernel: &str) -> Result<Built> {
    let (disk, size) = (home.join("root.raw"), home.join("bytes"));
    if !size.is_file() {
        std::fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
        let archive = home.join("root.tar");
        step("peer: packages of Debian 13, by mmdebstrap", || {
            bootstrap(home, kernel, &archive)
        })?;
        step("peer: its disk", || fill(home, kernel, &archive, &disk))?;
        let _ = std::fs::remove_file(&archive);
    }
    let bytes = std::fs::read_to_string(&size).context("read the peer's size")?;
    Ok(Built {
        image: Image {
            profile: "peer".to_owned(),
            folder: home.to_owned(),
        },
        disk,
        bytes: bytes
            .trim()
            .parse()
            .context("the peer's size is no number")?,
    })
}

fn bootstrap(home: &Path, kernel: &str, archive: &Path) -> Result<()> {
    let overlay = tempfile::tempdir().context("create a folder")?;
    std::fs::set_permissions(overlay.path(), PermissionsExt::from_mode(0o755))?;
    for (path, text) in files() {
        let file = overlay.path().join(path);
        let folder = file.parent().unwrap_or(overlay.path());
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, text))
            .with_context(|| format!("write {}", file.display()))?;
    }
    let sources = target().join("debian/apt/sources.list");
    let log = home.join("mmdebstrap.log");
    let output = Command::new("mmdebstrap")
        .args(["--variant=minbase", "--format=tar"])
        .arg(format!(
            "--include={},linux-image-{kernel}",
            PACKAGES.join(",")
        ))
        .args(
            ["doc", "man", "locale", "info"]
                .map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")),
        )
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg(format!(
            "--customize-hook=copy-in {}/etc /",
            overlay.path().display()
        ))
        .arg("--customize-hook=chroot \"$1\" systemctl -q enable systemd-networkd")
        .arg(format!(
            "--customize-hook=chroot \"$1\" systemctl -q mask {MASKED}"
        ))
        .arg("trixie")
        .arg(archive)
        .arg(&sources)
        .output()
        .context("run mmdebstrap")?;
    std::fs::write(&log, &output.stderr).context("keep mmdebstrap's words")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n");
        bail!("mmdebstrap: {tail}\nall of it: {}", log.display());
    }
    Ok(())
}

/// One shell under fakeroot, so that owners and modes survive from the archive to the disk.
fn fill(home: &Path, kernel: &str, archive: &Path, disk: &Path) -> Result<()> {
    let tree = tempfile::Builder::new().prefix("peer-").tempdir_in(home);
    let tree = tree.context("create a folder")?;
    let script = "set -e\n\
        tar -xf \"$1\" -C \"$2\" --numeric-owner --exclude='./dev/*'\n\
        du -s --apparent-size -B1 \"$2\" | cut -f1 > \"$4/size\"\n\
        cp \"$2/boot/vmlinuz-$5\" \"$4/vmlinuz\"; cp \"$2/boot/initrd.img-$5\" \"$4/initrd.cpio\"\n\
        rm -f \"$3\"; mke2fs -q -F -t ext4 -L peer -d \"$2\" \"$3\" 2G";
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("fakeroot")
        .args(["sh", "-c", script, "fill"])
        .args([archive, tree.path(), disk, home])
        .arg(kernel)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .context("run fakeroot")?;
    if !output.status.success() {
        bail!(
            "the peer's disk: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::fs::write(home.join("cmdline"), COMMAND_LINE).context("write its command line")?;
    std::fs::rename(home.join("size"), home.join("bytes")).context("keep its size")
}

/// What an administrator would write.
fn files() -> [(&'static str, String); 5] {
    let network = "[Match]\nName=en*\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n";
    let registry = format!(
        "[[registry]]\nlocation = \"10.0.2.2:{}\"\ninsecure = true\n",
        super::subject::PORT
    );
    [
        ("etc/hostname", "peer\n".to_owned()),
        ("etc/fstab", "/dev/vda / ext4 defaults 0 0\n".to_owned()),
        ("etc/systemd/network/80-dhcp.network", network.to_owned()),
        ("etc/containers/registries.conf.d/probe.conf", registry),
        (
            "etc/containers/systemd/probe.container",
            super::subject::unit(),
        ),
    ]
}
