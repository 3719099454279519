//! QEMU's firmware configuration (fw_cfg): `-fw_cfg name=opt/com.coreos/config,file=CONFIG`.
//!
//! Reads what the kernel's module shows; never the device itself.

use super::{Document, bounded};
use std::path::Path;

/// Names that a configuration may have: Skeg's own, Fedora CoreOS', Flatcar's.
const NAMES: [&str; 3] = [
    "opt/org.skeg/config",
    "opt/com.coreos/config",
    "opt/org.flatcar-linux/config",
];

/// The folder in which sysfs shows the entries by their names.
#[derive(Debug)]
pub struct Firmware<'a>(pub &'a Path);

impl Firmware<'_> {
    /// The first of the names that is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn document(&self) -> Result<Option<Document>, String> {
        for name in NAMES {
            let bytes = bounded(&self.0.join(name).join("raw"))?;
            if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                let name = format!("fw_cfg:{name}");
                return Ok(Some(Document { name, bytes }));
            }
        }
        Ok(None)
    }
}
