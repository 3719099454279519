//! Which partition is the ESP: the one that the loader says it was loaded from.
//!
//! It never guesses: a second disk with an ESP of its own is none of ours.

use crate::firmware::variables::{self, LOADER};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a device may stay busy that nobody uses, and how often to look.
const LEAVES: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// A partition's unique GUID, as the 16 bytes on disk.
pub type Guid = [u8; 16];

/// Where things are; tests put them elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/sys/firmware/efi/efivars`.
    pub variables: PathBuf,
    /// `/sys/class/block`.
    pub class: PathBuf,
    /// `/dev`.
    pub devices: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            variables: variables::FOLDER.into(),
            class: "/sys/class/block".into(),
            devices: "/dev".into(),
        }
    }
}

/// A partition of a GPT disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its device file.
    pub device: PathBuf,
    /// Its unique GUID.
    pub guid: Guid,
    /// From 1.
    pub number: u32,
    /// First block.
    pub start: u64,
    /// Blocks.
    pub blocks: u64,
}

/// Why there is no ESP.
#[derive(Debug, thiserror::Error)]
pub enum NoEsp {
    /// Not booted from a disk by systemd-boot.
    #[error(
        "the loader does not tell its partition (LoaderDevicePartUUID): this host was not booted from its disk, and cannot be updated"
    )]
    NoLoader,
    /// The loader named a partition that is nowhere.
    #[error("no disk has the partition {0} that the loader was loaded from")]
    Absent(String),
}

/// Finds the ESP.
///
/// # Errors
/// [`NoEsp`].
pub fn find(places: &Places) -> Result<Partition, NoEsp> {
    let name = format!("LoaderDevicePartUUID-{LOADER}");
    let value = variables::read(&places.variables, &name).ok().flatten();
    let text = value.map(|v| utf16(&v.data)).ok_or(NoEsp::NoLoader)?;
    let guid = parse_guid(&text).ok_or(NoEsp::NoLoader)?;
    let disks = fs::read_dir(&places.class).into_iter().flatten().flatten();
    for disk in disks.filter(|d| !d.path().join("partition").exists()) {
        let sysfs = disk.path();
        let device = places.devices.join(disk.file_name());
        let found = look(&device, &sysfs, guid).ok().flatten();
        let name = found.and_then(|p| Some((partition_name(&sysfs, p.number)?, p)));
        if let Some((name, partition)) = name {
            let device = places.devices.join(name);
            return Ok(Partition {
                device,
                ..partition
            });
        }
    }
    Err(NoEsp::Absent(text))
}

/// Looks into a disk's table (UEFI 2.10, section 5.3.3); a GUID of 122 random bits needs no checksum.
fn look(device: &Path, sysfs: &Path, guid: Guid) -> io::Result<Option<Partition>> {
    let block = number(&sysfs.join("queue/logical_block_size")).unwrap_or(512);
    let disk = File::open(device)?;
    let mut header = [0; 92];
    disk.read_exact_at(&mut header, block)?;
    if &header[..8] != b"EFI PART" {
        return Ok(None);
    }
    let count = u64_at(&header, 80) as u32;
    let size = (u64_at(&header, 84) as u32).clamp(128, 4096) as usize;
    let mut entries = vec![0; count.min(1024) as usize * size];
    disk.read_exact_at(&mut entries, u64_at(&header, 72).saturating_mul(block))?;
    let mut numbered = (1..).zip(entries.chunks_exact(size));
    let found = numbered.find(|(_, entry)| entry[16..32] == guid);
    Ok(found.map(|(number, entry)| Partition {
        device: device.to_owned(),
        guid,
        number,
        start: u64_at(entry, 32),
        blocks: (u64_at(entry, 40) + 1).saturating_sub(u64_at(entry, 32)),
    }))
}

/// Does this, once nobody has the device mounted any more: what an updater had that was killed goes with
/// its mount namespace, a moment after it.
///
/// # Errors
/// Its own; that the device is busy, after ten seconds.
pub(crate) fn once_free<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + LEAVES;
    loop {
        match act() {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(LOOK);
            }
            done => return done,
        }
    }
}

fn partition_name(sysfs: &Path, wanted: u32) -> Option<String> {
    let names = fs::read_dir(sysfs).ok()?.flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| number(&sysfs.join(name).join("partition")) == Some(wanted.into()))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

/// A GUID's text as on disk: the first three groups are little-endian.
#[must_use]
pub fn parse_guid(text: &str) -> Option<Guid> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut guid = [0; 16];
    for (n, byte) in guid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).ok()?;
    }
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    Some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    fn host(folder: &Path, loader: &str) -> Places {
        let places = Places {
            variables: folder.join("efivars"),
            class: folder.join("class"),
            devices: folder.join("dev"),
        };
        for at in [
            "class/vda/vda1",
            "class/vda1",
            "class/vdb",
            "dev",
            "efivars",
        ] {
            fs::create_dir_all(folder.join(at)).unwrap();
        }
        fs::write(folder.join("class/vda/vda1/partition"), "1\n").unwrap();
        fs::write(folder.join("class/vda1/partition"), "1\n").unwrap();
        let mut disk = vec![0; 512 + 512 + 128 * 128];
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[584] = 2;
        disk[592] = 128;
        disk[596] = 128;
        disk[1040..1056].copy_from_slice(&parse_guid(GUID).unwrap());
        disk[1056..1064].copy_from_slice(&2048u64.to_le_bytes());
        disk[1064..1072].copy_from_slice(&4095u64.to_le_bytes());
        fs::write(folder.join("dev/vda"), disk).unwrap();
        fs::write(folder.join("dev/vdb"), [0; 99]).unwrap();
        let value = loader.encode_utf16().flat_map(u16::to_le_bytes);
        let value: Vec<u8> = [6, 0, 0, 0]
            .into_iter()
            .chain(value)
            .chain([0, 0])
            .collect();
        let name = format!("LoaderDevicePartUUID-{LOADER}");
        fs::write(places.variables.join(name), value).unwrap();
        places
    }

    #[test]
    fn the_esp_is_the_partition_that_the_loader_names() {
        let folder = tempfile::tempdir().unwrap();
        let found = find(&host(folder.path(), &GUID.to_uppercase())).unwrap();
        assert_eq!(found.device, folder.path().join("dev/vda1"));
        assert_eq!((found.start, found.blocks, found.number), (2048, 2048, 1));
    }

    #[test]
    fn another_disks_esp_is_none_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let other = find(&host(folder.path(), "0fc63daf-8483-4772-8e79-3d69d8477de5"));
        assert!(matches!(other, Err(NoEsp::Absent(_))), "{other:?}");
        let none = find(&Places {
            variables: folder.path().join("nowhere"),
            ..Places::default()
        });
        assert!(matches!(none, Err(NoEsp::NoLoader)), "{none:?}");
    }

    #[test]
    fn a_device_is_waited_for_while_it_is_busy_and_no_longer() {
        let mut left = 2;
        let done = once_free(|| {
            left -= 1;
            match left {
                0 => Ok(()),
                _ => Err(io::ErrorKind::ResourceBusy.into()),
            }
        });
        assert!(done.is_ok());
        let other = once_free(|| Err::<(), _>(io::ErrorKind::NotFound.into()));
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
