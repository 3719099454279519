//! Kernel modules: the image's list, loaded in its order.
//!
//! The list holds paths below `/usr/lib/modules`, one a line, each after those that it needs. A loaded
//! file is removed: the kernel has its copy, and the initramfs lives in memory.

use nix::kmod::{ModuleInitFlags, finit_module};
use std::fs::{self, File};
use std::path::{Component, Path};

/// What the list's paths are relative to.
pub const FOLDER: &str = "/usr/lib/modules";

/// The kernel unpacks the file itself (`MODULE_INIT_COMPRESSED_FILE`, which nix does not name).
const COMPRESSED: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// Loads every module of the list; returns what failed, a sentence each.
pub fn load(list: &Path, folder: &Path) -> Vec<String> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(e) => return vec![format!("read {}: {e}", list.display())],
    };
    entries(&text)
        .filter_map(|entry| one(folder, entry).err())
        .collect()
}

/// Removes the files of a list that is not needed on this machine.
pub fn discard(list: &Path, folder: &Path) {
    let text = fs::read_to_string(list).unwrap_or_default();
    for entry in entries(&text).filter(|entry| is_below(entry)) {
        let _ = fs::remove_file(folder.join(entry));
    }
}

fn is_below(entry: &str) -> bool {
    let mut components = Path::new(entry).components();
    components.all(|c| matches!(c, Component::Normal(_)))
}

fn one(folder: &Path, entry: &str) -> Result<(), String> {
    if !is_below(entry) {
        return Err(format!("{entry}: expected a path below {FOLDER}"));
    }
    let path = folder.join(entry);
    let file = File::open(&path).map_err(|e| format!("open {}: {e}", path.display()))?;
    let packed = entry.ends_with(".xz") || entry.ends_with(".zst");
    let flags = if packed {
        COMPRESSED
    } else {
        ModuleInitFlags::empty()
    };
    match finit_module(&file, c"", flags) {
        Ok(()) => {
            let _ = fs::remove_file(&path);
            Ok(())
        }
        Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(e) => Err(format!("load {entry}: {}", e.desc())),
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_modules_and_a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("modules.load");
        fs::write(&list, "# first\n\n6.12/a.ko\n../b.ko\n").unwrap();
        let failed = load(&list, folder.path());
        assert_eq!(failed.len(), 2);
        assert!(failed[0].contains("6.12/a.ko"), "{}", failed[0]);
        assert!(failed[1].contains("expected a path"), "{}", failed[1]);
        assert_eq!(load(Path::new("/nonexistent"), folder.path()).len(), 1);
    }

    #[test]
    fn what_is_not_needed_is_removed_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, list) = (folder.path().join("modules"), folder.path().join("list"));
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("a.ko"), "").unwrap();
        fs::write(&list, "a.ko\n../list\n").unwrap();
        discard(&list, &inside);
        assert!(!inside.join("a.ko").exists() && list.exists());
    }
}
