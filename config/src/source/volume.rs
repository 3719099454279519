//! A configuration on a volume that the provider attaches: a config drive (label `config-2`), or a
//! NoCloud seed (label `cidata`), as ISO 9660 or FAT.
//!
//! An ISO is read here and not by the kernel: whoever attaches a disk need not be trusted with a mount.

use super::{Document, Places, bounded, iso};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Labels, and where the configuration lies on such a volume.
const KNOWN: [(&str, &str); 2] = [
    ("config-2", "openstack/latest/user_data"),
    ("cidata", "user-data"),
];

enum Kind {
    Iso,
    Fat,
}

/// The document on the first such volume.
pub fn document(places: &Places) -> Result<Option<Document>, String> {
    let devices = std::fs::read_dir(&places.class).into_iter().flatten();
    let mut names: Vec<_> = devices.flatten().map(|d| d.file_name()).collect();
    names.sort();
    for name in names {
        let device = places.devices.join(&name);
        let Some((label, kind)) = label(&device) else {
            continue;
        };
        let known = KNOWN
            .iter()
            .find(|(known, _)| label.eq_ignore_ascii_case(known));
        let Some((label, path)) = known else {
            continue;
        };
        let bytes = match kind {
            Kind::Iso => {
                let file = File::open(&device).map_err(|e| format!("{}: {e}", device.display()))?;
                iso::file(&file, path).map_err(|e| format!("{label}: {e}"))?
            }
            Kind::Fat => file_on(&device, "vfat", path, places)?,
        };
        if let Some(bytes) = bytes.filter(|bytes| !bytes.trim_ascii().is_empty()) {
            let name = format!("{label}:{path}");
            return Ok(Some(Document { name, bytes }));
        }
    }
    Ok(None)
}

/// The label of an ISO 9660 or FAT file system.
fn label(device: &Path) -> Option<(String, Kind)> {
    let file = File::open(device).ok()?;
    let mut sector = [0; 2048];
    if file.read_exact_at(&mut sector, iso::VOLUME).is_ok() && iso::is_volume(&sector) {
        return Some((text(&sector[40..72]), Kind::Iso));
    }
    file.read_exact_at(&mut sector[..512], 0).ok()?;
    if sector[510..512] != [0x55, 0xaa] {
        return None;
    }
    // FAT32 has its label elsewhere than FAT12 and FAT16.
    for (kind, label) in [(82, 71), (54, 43)] {
        if sector[kind..].starts_with(b"FAT") {
            return Some((text(&sector[label..label + 11]), Kind::Fat));
        }
    }
    None
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches(['\0', ' '])
        .to_owned()
}

/// A file on a device that is mounted for it, read-only; none if it is not there.
pub fn file_on(
    device: &Path,
    kind: &str,
    path: &str,
    places: &Places,
) -> Result<Option<Vec<u8>>, String> {
    let place = &places.mount;
    if !places.is_apart {
        own_view().map_err(|e| format!("mount {}: {e}", device.display()))?;
    }
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(device, place, kind, flags, None)
        .map_err(|e| format!("mount {}: {e}", device.display()))?;
    let read = bounded(&place.join(path));
    unmount(place, UnmountFlags::DETACH)
        .map_err(|e| format!("unmount {}: {e}", place.display()))?;
    read
}

/// Gives this process a mount namespace of its own: nobody else sees what it mounts.
fn own_view() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Into::into)
}
