//! The firmware's variables, through efivarfs: each a file of four bytes of attributes and the value.
//!
//! The kernel marks the files immutable, so that nobody removes one by accident; that mark is taken
//! off for one write. Nothing is written that is there already: the flash wears.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Where efivarfs is mounted.
pub const FOLDER: &str = "/sys/firmware/efi/efivars";
/// The vendor of systemd-boot's variables (Boot Loader Interface).
pub const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The vendor of the specification's own variables (UEFI 2.10, section 3.3).
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, for boot services and for the running system (UEFI 2.10, section 8.2).
pub const KEPT: u32 = 7;
/// No variable of ours is longer, in bytes.
const MOST: u64 = 64 << 10;

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Attributes.
    pub attributes: u32,
    /// Its value.
    pub data: Vec<u8>,
}

/// Reads a variable; `None` where there is none of that name.
///
/// # Errors
/// As read(2), or a file that is no variable.
pub fn read(folder: &Path, name: &str) -> io::Result<Option<Variable>> {
    let path = folder.join(name);
    match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > MOST => return Err(io::ErrorKind::InvalidData.into()),
        _ => {}
    }
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let Some((attributes, data)) = bytes.split_first_chunk::<4>() else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Some(Variable {
        attributes: u32::from_le_bytes(*attributes),
        data: data.to_vec(),
    }))
}

/// Writes a variable, unless it has this value already.
///
/// # Errors
/// What the firmware says, e.g. that its store is full.
pub fn write(folder: &Path, name: &str, data: &[u8]) -> io::Result<()> {
    let same = |v: &Variable| v.data == data && v.attributes == KEPT;
    if read(folder, name)?.as_ref().is_some_and(same) {
        return Ok(());
    }
    let path = folder.join(name);
    unlock(&path)?;
    let mut bytes = KEPT.to_le_bytes().to_vec();
    bytes.extend(data);
    // One write(2): the kernel hands it to the firmware as it is.
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    file.write_all(&bytes)
}

/// Removes a variable; one that is not there is no error.
///
/// # Errors
/// What the firmware says.
pub fn remove(folder: &Path, name: &str) -> io::Result<()> {
    let path = folder.join(name);
    unlock(&path)?;
    match fs::remove_file(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Names of all variables of a vendor, without the vendor.
///
/// # Errors
/// As readdir(3).
pub fn list(folder: &Path, vendor: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let own = name.strip_suffix(vendor).and_then(|n| n.strip_suffix('-'));
        names.extend(own.map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// Takes the immutable mark off. A file system without such marks has nothing to take off.
fn unlock(path: &Path) -> io::Result<()> {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    match ioctl_getflags(&file) {
        Ok(flags) if flags.contains(IFlags::IMMUTABLE) => {
            ioctl_setflags(&file, flags - IFlags::IMMUTABLE).map_err(Into::into)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_back_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("Boot0001-{GLOBAL}");
        assert_eq!(read(folder.path(), &name).unwrap(), None);
        write(folder.path(), &name, b"entry").unwrap();
        assert_eq!(
            fs::read(folder.path().join(&name)).unwrap(),
            b"\x07\0\0\0entry"
        );
        assert_eq!(read(folder.path(), &name).unwrap().unwrap().data, b"entry");
        assert_eq!(list(folder.path(), GLOBAL).unwrap(), ["Boot0001"]);
        assert!(list(folder.path(), LOADER).unwrap().is_empty());
        remove(folder.path(), &name).unwrap();
        remove(folder.path(), &name).unwrap();
        assert_eq!(read(folder.path(), &name).unwrap(), None);
    }
}
