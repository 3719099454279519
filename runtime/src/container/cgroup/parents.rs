//! The cgroups above a container's: made when missing, with every controller that there is handed down.
//!
//! It removes only what it made, and only while nobody is in it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Error;

/// Directories that were made on the way down, the topmost first.
#[derive(Debug, Default)]
pub struct Parents {
    /// Their paths.
    pub made: Vec<PathBuf>,
}

impl Parents {
    /// Makes the parents of `path` below `mount` and enables the controllers in them.
    ///
    /// # Errors
    /// The directory that cannot be made; what was made before it is removed again.
    pub fn make(mount: &Path, path: &Path) -> Result<Self, Error> {
        let mut parents = Self::default();
        let mut at = mount.to_owned();
        hand_down(&at);
        let above = path.parent().unwrap_or(Path::new(""));
        for name in above.components() {
            at.push(name);
            match std::fs::create_dir(&at) {
                Ok(()) => parents.made.push(at.clone()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => {
                    parents.remove();
                    return Err(Error { path: at, source });
                }
            }
            hand_down(&at);
        }
        Ok(parents)
    }

    /// Removes those that are empty.
    pub fn remove(&self) {
        for path in self.made.iter().rev() {
            if std::fs::remove_dir(path).is_err() {
                return;
            }
        }
    }
}

/// Enables each controller below `path`. One that cannot be (processes in between, or one that is in
/// use by version 1) is missed only when a limit asks for it, and named then.
fn hand_down(path: &Path) {
    let read = |file| std::fs::read_to_string(path.join(file)).unwrap_or_default();
    let enabled = read("cgroup.subtree_control");
    let control = path.join("cgroup.subtree_control");
    for controller in read("cgroup.controllers").split_whitespace() {
        if !enabled.split_whitespace().any(|one| one == controller) {
            let _ = std::fs::write(&control, format!("+{controller}"));
        }
    }
}

/// Refuses keys of `unified` that name no file of an available controller.
///
/// # Errors
/// The key, in the words that crun has for it.
pub fn check_unified<'a>(
    cgroup: &Path,
    mut keys: impl Iterator<Item = &'a String>,
) -> io::Result<()> {
    let available = std::fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    keys.try_for_each(|key| {
        let (controller, _) = key.split_once('.').ok_or_else(|| {
            io::Error::other(format!(
                "the specified key has not the form CONTROLLER.VALUE `{key}`"
            ))
        })?;
        let known = available.split_whitespace().any(|one| one == controller);
        if key.contains('/') || !(known || controller == "cgroup") {
            return Err(io::Error::other(format!(
                "the requested cgroup controller `{controller}` is not available"
            )));
        }
        Ok(())
    })
}
