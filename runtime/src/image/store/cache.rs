//! Gives back the memory that a pull's own writing has taken: the cached pages of the files of a new layer.
//!
//! It never waits for a disk, and takes nothing that a program has mapped: the kernel leaves those pages
//! where they are, as it does those that are not on the disk yet.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, OFlags};

/// From the layer's end to its release: a container that waited for the pull has started by then, and what
/// it runs is mapped.
const AFTER: Duration = Duration::from_secs(10);

/// Releases the files below `folder` after a while.
pub(super) fn release_later(folder: PathBuf) {
    tokio::spawn(async move {
        tokio::time::sleep(AFTER).await;
        let released = tokio::task::spawn_blocking(move || release(&folder)).await;
        tracing::debug!("the cache of {} files is given back", released.unwrap_or(0));
    });
}

/// How many regular files below `folder` were released; what cannot be read, or is gone, is passed over.
fn release(folder: &Path) -> usize {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files += usize::from(release_file(&entry.path())),
                _ => {}
            }
        }
    }
    files
}

fn release_file(path: &Path) -> bool {
    // Were it replaced meanwhile, neither a link nor a fifo's missing writer would be waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    file.is_ok_and(|file| rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn regular_files_are_released_and_links_and_pipes_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let (layer, outside) = (root.path().join("diff"), root.path().join("outside"));
        std::fs::create_dir_all(layer.join("usr/lib")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        for file in [layer.join("a"), layer.join("usr/lib/b"), outside.join("c")] {
            std::fs::write(file, "text").unwrap();
        }
        symlink(&outside, layer.join("folder")).unwrap();
        symlink(outside.join("c"), layer.join("file")).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(rustix::fs::CWD, layer.join("pipe"), kind, mode, 0).unwrap();
        assert_eq!(release(&layer), 2);
        assert_eq!(release(&root.path().join("gone")), 0);
    }
}
