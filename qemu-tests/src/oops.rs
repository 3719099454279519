//! Tells a guest whose kernel broke from a test that failed.
//!
//! It reads console lines only; what a guest's own programs print is never taken for an oops.

/// What the kernel prints, and programs do not, when it is broken.
const SIGNS: [&str; 8] = [
    "Kernel panic - not syncing",
    "Oops:",
    "BUG: ",
    "kernel BUG at",
    "general protection fault",
    "Unable to handle kernel",
    "watchdog: BUG",
    "rcu_sched self-detected stall",
];

/// The first line by which the guest's kernel says that it broke.
#[must_use]
pub fn find(lines: &[String]) -> Option<&str> {
    lines.iter().map(String::as_str).find(|line| is_oops(line))
}

/// Whether this line is such a one: a kernel line starts with its timestamp.
#[must_use]
pub fn is_oops(line: &str) -> bool {
    let Some(message) = after_timestamp(line) else {
        return false;
    };
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// `[    1.234567] text` → `text`.
fn after_timestamp(line: &str) -> Option<&str> {
    let (stamp, message) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    stamp.trim().parse::<f64>().ok().map(|_| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_believed_and_programs_are_not() {
        assert!(is_oops(
            "[    1.2] Kernel panic - not syncing: VFS: no root"
        ));
        assert!(is_oops(
            "[   12.345678] BUG: kernel NULL pointer dereference"
        ));
        assert!(!is_oops("skeg: [   1.450] init"));
        assert!(!is_oops("web: Oops: the page says so"));
        assert!(!is_oops(
            "[    1.200000] virtio_blk virtio1: [vda] 8388608 blocks"
        ));
    }
}
