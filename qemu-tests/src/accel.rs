//! Which accelerator works here. Asked of a guest's progress: `/dev/kvm` may be there and hang.
//!
//! The verdict is kept in the target folder, for one host boot and one kernel.

use crate::image::{Image, target};
use crate::qemu::dies_with_us;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A kernel with KVM says this within a second; it is what it says when it looks for a root.
const PROGRESS: &str = "VFS: ";
const PATIENCE: Duration = Duration::from_secs(6);

/// `kvm` if a guest makes progress with it, else `tcg`.
#[must_use]
pub fn working(image: &Image) -> &'static str {
    static VERDICT: OnceLock<&'static str> = OnceLock::new();
    VERDICT.get_or_init(|| verdict(image))
}

fn verdict(image: &Image) -> &'static str {
    if !Path::new("/dev/kvm").exists() {
        return "tcg";
    }
    let kept = target().join("kvm-verdict");
    let key = key(&image.kernel());
    let before = std::fs::read_to_string(&kept).unwrap_or_default();
    let verdict = match before.strip_prefix(&key) {
        Some("kvm") => return "kvm",
        Some("tcg") => return "tcg",
        _ if makes_progress(&image.kernel()) => "kvm",
        _ => "tcg",
    };
    let _ = std::fs::write(kept, format!("{key}{verdict}"));
    verdict
}

/// One boot of the host, one kernel.
fn key(kernel: &Path) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let size = std::fs::metadata(kernel).map_or(0, |m| m.len());
    format!("{} {size} ", boot.trim())
}

fn makes_progress(kernel: &Path) -> bool {
    let started = dies_with_us("qemu-system-x86_64")
        .args(["-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256"])
        .args(["-display", "none", "-nodefaults", "-no-reboot"])
        .args(["-serial", "stdio", "-append", "console=ttyS0 panic=-1"])
        .arg("-kernel")
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut qemu) = started else {
        return false;
    };
    let progress = reaches(&mut qemu);
    let _ = qemu.kill();
    let _ = qemu.wait();
    progress
}

fn reaches(qemu: &mut Child) -> bool {
    let Some(mut output) = qemu.stdout.take() else {
        return false;
    };
    let (sender, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = output.read(&mut buffer) {
            if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        said.extend(piece);
        if String::from_utf8_lossy(&said).contains(PROGRESS) {
            return true;
        }
    }
    false
}
