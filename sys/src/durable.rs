//! The durable write: write, fsync, rename, fsync of the folder. After it returns, a power cut
//! leaves either the old content or the new one, whole.
//!
//! It assumes a file system with an atomic rename (ext4, xfs, tmpfs). FAT has none: never use it there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces `path` by `bytes`, durably, with permission bits `mode` (e.g. `0o600`).
///
/// # Errors
/// Any error of create, write, fsync or rename, with the operation and the path in its text. On an
/// error the old file is untouched and the temporary file is removed.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let result = write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| named(e, "rename to", path)));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
        return result;
    }
    sync_parent(path)
}

/// Renames `from` to `to` and makes the rename durable in both folders.
///
/// The content of `from` must have been synced before; see [`sync_file`].
///
/// # Errors
/// Any error of rename or fsync, with the path in its text.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|e| named(e, "rename to", to))?;
    sync_parent(to)?;
    if from.parent() != to.parent() {
        sync_parent(from)?;
    }
    Ok(())
}

/// Removes a file durably; a file that is not there is no error.
///
/// # Errors
/// Any error of unlink other than `ENOENT`, or of the folder's fsync.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(named(e, "remove", path)),
        Ok(()) => sync_parent(path),
    }
}

/// Creates a folder and its missing parents, and makes each new entry durable.
///
/// # Errors
/// Any error of mkdir or fsync, with the path in its text.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dir_all(parent)?;
    }
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(named(e, "create", path)),
        _ => sync_parent(path),
    }
}

/// Flushes a file's content and metadata to the disk.
///
/// # Errors
/// As `fsync(2)`, with the path in its text.
pub fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all().map_err(|e| named(e, "fsync", path))
}

/// Flushes the folder that holds `path`, so that its entry survives a power cut.
///
/// # Errors
/// As `fsync(2)`, with the path in its text.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let folder = File::open(parent).map_err(|e| named(e, "open", parent))?;
    folder.sync_all().map_err(|e| named(e, "fsync", parent))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        // Not `create_new`: what a power cut left may have the very name, since a boot repeats itself.
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(|e| named(e, "create", path))?;
    file.write_all(bytes).map_err(|e| named(e, "write", path))?;
    sync_file(&file, path)
}

fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{count}.new", std::process::id()))
}

fn named(e: io::Error, operation: &str, path: &Path) -> io::Error {
    io::Error::new(e.kind(), format!("{operation} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write(&path, b"a long first version", 0o600).unwrap();
        write(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_names_the_operation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        create_dir_all(&path.join("child")).unwrap();
        let error = write(&path, b"x", 0o600).unwrap_err();
        assert!(error.to_string().starts_with("rename to"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_power_cut_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for count in 0..256 {
            let left = format!(".state.json.{}.{count}.new", std::process::id());
            fs::write(folder.path().join(left), b"half, and longer than the whole").unwrap();
        }
        write(&path, b"whole", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("absent")).unwrap();
    }
}
