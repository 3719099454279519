//! What a container's own layer adds to, changes in and takes from its image.
//!
//! Names are only looked up; nothing is followed or opened for its content.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What became of a path, as Docker numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// It is another than the image's.
    Modified = 0,
    /// The image has none.
    Added = 1,
    /// The image's is gone.
    Deleted = 2,
}

/// All changes, by path.
///
/// # Errors
/// What the file system says.
pub fn of(upper: &Path, lower: &[PathBuf]) -> io::Result<Vec<(PathBuf, Change)>> {
    let mut found = Vec::new();
    below(upper, Path::new(""), lower, &mut found)?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn below(
    upper: &Path,
    inside: &Path,
    lower: &[PathBuf],
    found: &mut Vec<(PathBuf, Change)>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(upper.join(inside))? {
        let entry = entry?;
        let path = inside.join(entry.file_name());
        let meta = entry.metadata()?;
        let shown = Path::new("/").join(&path);
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            found.push((shown, Change::Deleted));
            continue;
        }
        let is_old = lower
            .iter()
            .any(|layer| layer.join(&path).symlink_metadata().is_ok());
        let change = if is_old {
            Change::Modified
        } else {
            Change::Added
        };
        found.push((shown, change));
        if meta.is_dir() {
            below(upper, &path, lower, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_and_what_was_changed_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (upper, lower) = (root.path().join("u"), root.path().join("l"));
        for folder in [upper.join("etc"), lower.join("etc")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(lower.join("etc/a"), "").unwrap();
        std::fs::write(upper.join("etc/a"), "x").unwrap();
        std::fs::write(upper.join("new"), "x").unwrap();
        let found = of(&upper, &[lower]).unwrap();
        let wanted = [
            ("/etc", Change::Modified),
            ("/etc/a", Change::Modified),
            ("/new", Change::Added),
        ];
        assert_eq!(found, wanted.map(|(p, c)| (PathBuf::from(p), c)));
    }
}
