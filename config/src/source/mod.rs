//! Where a configuration comes from: the command line, the hypervisor, the disk, a metadata service.
//!
//! The first that has one is asked, and nobody else. What a source says is a document's bytes and its
//! name; what they mean is not looked at here.

mod cloud;
mod command_line;
mod esp;
mod firmware;
pub mod iso;
mod platform;
mod volume;

pub use cloud::{Metadata, user_data};
pub use firmware::Firmware;
pub use platform::Platform;

use crate::http::Settings;
use crate::resource::{LARGEST, shown};
use hyper::Method;
use std::path::{Path, PathBuf};

/// A configuration as its source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is called, e.g. `fw_cfg:opt/com.coreos/config`; without secrets.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Where things are; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// The kernel's command line.
    pub command_line: PathBuf,
    /// QEMU's firmware configuration, as sysfs shows it.
    pub firmware: PathBuf,
    /// What the firmware says of the machine.
    pub machine: PathBuf,
    /// Block devices.
    pub class: PathBuf,
    /// Device files.
    pub devices: PathBuf,
    /// Where a file system is mounted for a moment.
    pub mount: PathBuf,
    /// Whether nobody else sees what this process mounts; else it sees to that first.
    pub is_apart: bool,
    /// Metadata services are at this address instead of their own.
    pub metadata: Option<String>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            command_line: "/proc/cmdline".into(),
            firmware: "/sys/firmware/qemu_fw_cfg/by_name".into(),
            machine: "/sys/class/dmi/id".into(),
            class: "/sys/class/block".into(),
            devices: "/dev".into(),
            mount: formats::paths::ESP.into(),
            is_apart: false,
            metadata: None,
        }
    }
}

/// What the hypervisor hands over by itself: asked at each boot, since it costs nothing.
///
/// # Errors
/// It is there and cannot be read.
pub fn handed_over(places: &Places) -> Result<Option<Document>, String> {
    Firmware(&places.firmware).document()
}

/// The configuration that this machine is given, from the first source that has one.
///
/// # Errors
/// A source that should have one cannot be asked.
pub fn given(places: &Places, settings: &Settings) -> Result<Option<Document>, String> {
    let line = std::fs::read_to_string(&places.command_line).unwrap_or_default();
    if let Some(url) = command_line::url(&line) {
        return fetched(url, settings).map(Some);
    }
    if let Some(document) = handed_over(places)? {
        return Ok(Some(document));
    }
    if let Some(document) = esp::document(places)? {
        return Ok(Some(document));
    }
    let platform = match command_line::platform(&line) {
        Some(named) => Platform::parse(named)?,
        None => Platform::of_machine(&places.machine),
    };
    let seed = command_line::seed(&line);
    match platform.of_seed(seed) {
        Platform::None => volume::document(places),
        platform => match volume::document(places)? {
            Some(document) => Ok(Some(document)),
            None => cloud::document(&platform, places, settings),
        },
    }
}

fn fetched(url: &str, settings: &Settings) -> Result<Document, String> {
    let answer = crate::http::ask(&Method::GET, url, &[], settings)?;
    if answer.status != 200 {
        return Err(format!(
            "{}: the server answered {}",
            shown(url),
            answer.status
        ));
    }
    Ok(Document {
        name: shown(url),
        bytes: answer.body,
    })
}

/// A file's bytes, bounded; none if it is not there.
fn bounded(path: &Path) -> Result<Option<Vec<u8>>, String> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("open {}: {e}", path.display())),
    };
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|e| format!("read {}: {e}", path.display()))?;
    match bytes.len() as u64 > LARGEST {
        true => Err(format!(
            "{} is larger than {} MiB",
            path.display(),
            LARGEST >> 20
        )),
        false => Ok(Some(bytes)),
    }
}
