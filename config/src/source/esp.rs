//! A file on the ESP of the host's own disk: `skeg/config.ign`, for disks that are written by hand.
//!
//! Never looks at another disk's ESP: the host's own is the one beside STATE.

use super::{Document, Places, volume};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FILE: &str = "skeg/config.ign";
/// How the name ends that the image's builder gives the partition.
const NAME: &str = "-esp";

/// The document on the ESP, if there is one.
pub fn document(places: &Places) -> Result<Option<Document>, String> {
    let Some(device) = device(places, Path::new(formats::paths::STATE)) else {
        return Ok(None);
    };
    let found = volume::file_on(&device, "vfat", FILE, places)?;
    Ok(found.map(|bytes| Document {
        name: format!("esp:{FILE}"),
        bytes,
    }))
}

fn device(places: &Places, state: &Path) -> Option<PathBuf> {
    let device = std::fs::metadata(state).ok()?.st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let partitions = std::fs::read_dir(&places.class).ok()?.flatten();
    let partitions: Vec<PathBuf> = partitions
        .filter_map(|p| p.path().canonicalize().ok())
        .collect();
    let is = |path: &&PathBuf| {
        let numbers = std::fs::read_to_string(path.join("dev")).unwrap_or_default();
        numbers.trim() == format!("{major}:{minor}")
    };
    let disk = partitions.iter().find(is)?.parent()?;
    let esp = partitions.iter().find(|path| {
        let event = std::fs::read_to_string(path.join("uevent")).unwrap_or_default();
        path.parent() == Some(disk)
            && event
                .lines()
                .any(|line| line.starts_with("PARTNAME=") && line.ends_with(NAME))
    })?;
    Some(places.devices.join(esp.file_name()?))
}
