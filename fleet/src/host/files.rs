//! Where the fleet's unit files lie on a host, and what systemd calls the units that come of them.
//!
//! Beside the file that the host reads there is a copy of the text, by which a restarted agent knows
//! its own.

use super::HostError;
use formats::fleet::UnitName;
use std::path::{Path, PathBuf};

/// Suffixes that Quadlet makes services of, and what it puts behind the name.
const QUADLET: [(&str, &str); 6] = [
    ("container", ""),
    ("kube", ""),
    ("pod", "-pod"),
    ("volume", "-volume"),
    ("network", "-network"),
    ("image", "-image"),
];

/// The unit that the host starts for one of ours.
pub fn service(name: &UnitName) -> String {
    match QUADLET.iter().find(|(suffix, _)| *suffix == name.suffix()) {
        Some((_, behind)) => format!("{}{behind}.service", name.stem()),
        None => name.to_string(),
    }
}

/// Folders of a host.
#[derive(Debug, Clone)]
pub struct Folders {
    /// Plain unit files, as `/run/systemd/system`.
    pub units: PathBuf,
    /// Quadlet's, as `/run/containers/systemd`.
    pub quadlets: PathBuf,
    /// Copies.
    pub own: PathBuf,
}

impl Folders {
    /// Makes them.
    ///
    /// # Errors
    /// Which cannot be made.
    pub(super) fn make(&self) -> Result<(), HostError> {
        for folder in [&self.units, &self.quadlets, &self.own] {
            std::fs::create_dir_all(folder).map_err(at(folder))?;
        }
        Ok(())
    }

    fn place(&self, name: &UnitName) -> PathBuf {
        let quadlet = QUADLET.iter().any(|(suffix, _)| *suffix == name.suffix());
        let folder = if quadlet { &self.quadlets } else { &self.units };
        folder.join(name.as_str())
    }

    /// Writes a unit's file, then the copy: a copy without its file would be of a unit that never ran.
    pub(super) fn write(&self, name: &UnitName, text: &str) -> Result<(), HostError> {
        for path in [self.place(name), self.own.join(name.as_str())] {
            let fresh = path.with_file_name(format!(".{name}.new"));
            std::fs::write(&fresh, text).map_err(at(&fresh))?;
            std::fs::rename(&fresh, &path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Removes both.
    pub(super) fn remove(&self, name: &UnitName) {
        for path in [self.own.join(name.as_str()), self.place(name)] {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The copies.
    pub(super) fn texts(&self) -> Result<Vec<(UnitName, String)>, HostError> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(&self.own).map_err(at(&self.own))? {
            let path = entry.map_err(at(&self.own))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(Ok(name)) = name.map(str::parse::<UnitName>) {
                texts.push((name, std::fs::read_to_string(&path).map_err(at(&path))?));
            }
        }
        Ok(texts)
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> HostError {
    let path = path.to_owned();
    move |source| HostError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadlet_s_units_are_started_as_the_services_that_it_makes() {
        let table = [
            ("web.service", "web.service"),
            ("web@1.container", "web@1.service"),
            ("web.pod", "web-pod.service"),
            ("data.volume", "data-volume.service"),
            ("a.timer", "a.timer"),
        ];
        for (name, expected) in table {
            assert_eq!(service(&name.parse().unwrap()), expected);
        }
    }
}
