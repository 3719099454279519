//! The firmware: what makes it return to a good release when a new one cannot even be loaded.
//!
//! It boots nothing itself. Which of the two ways is used is seen from what the firmware keeps.

pub mod entry;
pub mod order;
pub mod variables;

use crate::esp::device::Partition;
use crate::esp::name::TRIES;
use order::{Change, Entries, NAME};
use std::io;
use std::path::{Path, PathBuf};
use variables::GLOBAL;

/// The loader on the ESP, as the firmware spells it.
pub const LOADER_PATH: &str = "\\EFI\\BOOT\\BOOTX64.EFI";

/// Why the firmware cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// It has no variables, or refuses to change them.
    #[error("firmware variable {name}: {source}")]
    Variable {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It forgets.
    #[error(
        "the firmware dropped the boot entries that bring a host back from a release that cannot be loaded: nothing is staged"
    )]
    Drops,
}

/// A way back from a release that cannot be loaded.
pub trait Backend {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Sees to it that the way back is there, before anything is staged.
    ///
    /// # Errors
    /// [`FirmwareError`]: nothing may be staged.
    fn prepare(&self) -> Result<(), FirmwareError>;
}

/// Tries + 1 entries that all name the loader.
#[derive(Debug)]
pub struct CountedEntries {
    folder: PathBuf,
    wanted: Vec<Vec<u8>>,
}

impl CountedEntries {
    /// For the loader on this ESP.
    #[must_use]
    pub fn new(folder: &Path, partition: &Partition) -> Self {
        let entry = |n| entry::load_option(&format!("{NAME} {n}"), partition, LOADER_PATH);
        Self {
            folder: folder.to_owned(),
            wanted: (1..=TRIES + 1).map(entry).collect(),
        }
    }
}

impl Backend for CountedEntries {
    fn name(&self) -> &'static str {
        "entries"
    }

    fn prepare(&self) -> Result<(), FirmwareError> {
        for change in read(&self.folder)?.plan(&self.wanted) {
            write(&self.folder, &change)?;
        }
        match read(&self.folder)?.has(&self.wanted) {
            true => Ok(()),
            false => Err(FirmwareError::Drops),
        }
    }
}

fn failed(name: &str) -> impl FnOnce(io::Error) -> FirmwareError + '_ {
    move |source| FirmwareError::Variable {
        name: name.to_owned(),
        source,
    }
}

/// Reads the boot entries.
///
/// # Errors
/// [`FirmwareError::Variable`].
pub fn read(folder: &Path) -> Result<Entries, FirmwareError> {
    let names = variables::list(folder, GLOBAL).map_err(failed("*"))?;
    let value = |name: &str| {
        let variable = variables::read(folder, &format!("{name}-{GLOBAL}"));
        let variable = variable.map_err(failed(name))?;
        Ok(variable.map_or_else(Vec::new, |v| v.data))
    };
    let order = value("BootOrder")?;
    let order = order
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    let mut entries = Entries {
        order: order.collect(),
        ..Entries::default()
    };
    for name in names {
        let digits = name.strip_prefix("Boot").filter(|d| d.len() == 4);
        let number = digits.and_then(|d| u16::from_str_radix(d, 16).ok());
        if let Some(number) = number {
            entries.options.insert(number, value(&name)?);
        }
    }
    Ok(entries)
}

fn write(folder: &Path, change: &Change) -> Result<(), FirmwareError> {
    let (name, data) = match change {
        Change::Option(number, bytes) => (format!("Boot{number:04X}"), bytes.clone()),
        Change::Order(order) => {
            let bytes = order.iter().flat_map(|n| n.to_le_bytes()).collect();
            ("BootOrder".to_owned(), bytes)
        }
    };
    let file = format!("{name}-{GLOBAL}");
    variables::write(folder, &file, &data).map_err(failed(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_are_in_the_firmware_after_it_was_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let partition = Partition {
            device: "/dev/vda1".into(),
            guid: [1; 16],
            number: 1,
            start: 2048,
            blocks: 4096,
        };
        let backend = CountedEntries::new(folder.path(), &partition);
        backend.prepare().unwrap();
        let entries = read(folder.path()).unwrap();
        assert_eq!(entries.order, [0, 1, 2, 3]);
        assert!(folder.path().join(format!("Boot0003-{GLOBAL}")).exists());
        backend.prepare().unwrap();
        assert_eq!(read(folder.path()).unwrap(), entries);
        let nowhere = CountedEntries::new(&folder.path().join("none"), &partition);
        assert!(nowhere.prepare().is_err());
    }
}
