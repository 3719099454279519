//! Who this host is: its name and its machine id.
//!
//! The id is made once and kept on STATE; without STATE the host is a new one at each boot.

use std::fs;
use std::io;
use std::path::Path;

/// The name of a host that was given none.
const NAMELESS: &str = "skeg";

/// The host's name from the text of `/etc/hostname`.
#[must_use]
pub fn hostname(text: &str) -> &str {
    let name = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let good = |n: &&str| n.len() <= 64 && n.bytes().all(plain) && !n.starts_with(['-', '.']);
    name.filter(good).unwrap_or(NAMELESS)
}

/// The id kept in `kept`, or a new one that is kept there from now on.
///
/// # Errors
/// When the new one cannot be kept; it is returned with the error.
pub fn machine_id(kept: &Path, fresh: impl FnOnce() -> String) -> (String, io::Result<()>) {
    let old = fs::read_to_string(kept).unwrap_or_default();
    if is_id(old.trim()) {
        return (old.trim().to_owned(), Ok(()));
    }
    let id = fresh();
    let written = match kept.parent() {
        Some(folder) => sys::durable::create_dir_all(folder),
        None => Ok(()),
    };
    let written =
        written.and_then(|()| sys::durable::write(kept, format!("{id}\n").as_bytes(), 0o444));
    (id, written)
}

/// A random id, from the kernel's own generator of UUIDs.
#[must_use]
pub fn fresh_id() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let id: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    if is_id(&id) { id } else { "0".repeat(32) }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("lib/machine-id");
        let (first, written) = machine_id(&kept, fresh_id);
        written.unwrap();
        assert!(is_id(&first));
        let (second, _) = machine_id(&kept, || unreachable!());
        assert_eq!(first, second);
        fs::remove_file(&kept).unwrap();
        fs::write(&kept, "garbage\n").unwrap();
        assert_ne!(machine_id(&kept, fresh_id).0, first);
    }

    #[test]
    fn a_name_that_no_kernel_or_resolver_likes_is_replaced() {
        assert_eq!(hostname("# mine\nweb-1\n"), "web-1");
        for bad in ["", "\n", "a b", "-x", "ä", &"x".repeat(65)] {
            assert_eq!(hostname(bad), NAMELESS, "{bad}");
        }
    }
}
