//! Looking for the STATE partition on every disk of the machine, by its GPT type.
//!
//! It reads partition tables only: it mounts nothing and writes nothing.

use super::gpt::{GptError, Header, header, partitions_of_type};
use formats::paths::STATE_PARTITION_TYPE;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Device files of all partitions of the type, first disk first.
    pub devices: Vec<PathBuf>,
    /// Disks whose table could not be read, a sentence each.
    pub damaged: Vec<String>,
}

/// Looks at every whole disk in a folder like `/sys/class/block`, with device files like in `/dev`.
#[must_use]
pub fn find_state(class: &Path, dev: &Path) -> Found {
    let mut found = Found::default();
    for disk in whole_disks(class) {
        match state_of(&class.join(&disk), &dev.join(&disk)) {
            Ok(names) => found
                .devices
                .extend(names.iter().map(|name| dev.join(name))),
            Err(problem) => found.damaged.push(format!("{disk}: {problem}")),
        }
    }
    found
}

fn whole_disks(class: &Path) -> Vec<String> {
    let mut disks: Vec<String> = fs::read_dir(class)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            !["loop", "ram", "zram", "dm-"]
                .iter()
                .any(|not| name.starts_with(not))
        })
        .filter(|name| !class.join(name).join("partition").exists())
        .filter(|name| number(&class.join(name).join("size")).is_some_and(|size| size > 0))
        .collect();
    disks.sort_unstable();
    disks
}

/// Names of the disk's partitions of the type, from the primary table or else from the backup one.
fn state_of(sysfs: &Path, device: &Path) -> io::Result<Vec<String>> {
    let block = number(&sysfs.join("queue/logical_block_size")).unwrap_or(512);
    let sectors = number(&sysfs.join("size")).unwrap_or(0);
    let last = (sectors * 512 / block).saturating_sub(1);
    let mut disk = File::open(device)?;
    let primary = read_table(&mut disk, block, 1);
    let numbers = match &primary {
        Ok(numbers) => numbers.clone(),
        Err(_) => match read_table(&mut disk, block, last) {
            Ok(numbers) => numbers,
            // No table anywhere: a blank or foreign disk, and no problem.
            Err(_) if is_absent(&primary) => Vec::new(),
            Err(e) => return Err(e),
        },
    };
    let shown = |wanted: &u32| partition_name(sysfs, *wanted);
    let names: Vec<String> = numbers.iter().filter_map(shown).collect();
    if names.len() < numbers.len() && primary.is_err() {
        let text = "only its backup partition table is whole, which the kernel does not read";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(names)
}

fn is_absent(table: &io::Result<Vec<u32>>) -> bool {
    table
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn read_table(disk: &mut File, block: u64, at: u64) -> io::Result<Vec<u32>> {
    let bytes = read_at(disk, at * block, usize::try_from(block).unwrap_or(512))?;
    let header: Header = header(&bytes).map_err(into_io)?;
    let length = header.entries_length();
    let entries = read_at(disk, header.entries_block.saturating_mul(block), length)?;
    partitions_of_type(&header, &entries, STATE_PARTITION_TYPE).map_err(into_io)
}

fn into_io(error: GptError) -> io::Error {
    let kind = match error {
        GptError::Absent => io::ErrorKind::NotFound,
        GptError::Damaged => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.to_string())
}

fn read_at(disk: &mut File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    disk.seek(SeekFrom::Start(offset))?;
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The kernel's name of the disk's n-th partition, e.g. `vda2`.
fn partition_name(sysfs: &Path, wanted: u32) -> Option<String> {
    fs::read_dir(sysfs)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| number(&sysfs.join(name).join("partition")) == Some(wanted.into()))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::gpt::guid_bytes;
    use super::*;

    /// A folder like `/sys/class/block` with one disk of two partitions, and its content.
    fn machine(content: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("sys").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("vda/size", &(content.len() / 512).to_string());
        write("vda/queue/logical_block_size", "512\n");
        write("vda/vda1/partition", "1\n");
        write("vda/vda2/partition", "2\n");
        write("vda2/partition", "2\n");
        write("loop0/size", "9\n");
        fs::create_dir(folder.path().join("dev")).unwrap();
        fs::write(folder.path().join("dev/vda"), content).unwrap();
        folder
    }

    fn look(machine: &tempfile::TempDir) -> Found {
        find_state(&machine.path().join("sys"), &machine.path().join("dev"))
    }

    /// A disk of 64 blocks whose second partition is STATE, with both tables.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0u8; 64 * 512];
        let mut entries = vec![0u8; 4 * 128];
        entries[128..144].copy_from_slice(&guid_bytes(STATE_PARTITION_TYPE).unwrap());
        for (at, entries_block) in [(1usize, 2u64), (63, 62)] {
            let start = usize::try_from(entries_block).unwrap() * 512;
            disk[start..start + 512].copy_from_slice(&entries);
            let header = super::super::gpt::test_header(entries_block, 4, &entries);
            disk[at * 512..at * 512 + 92].copy_from_slice(&header);
        }
        disk
    }

    #[test]
    fn state_is_found_and_named_as_the_kernel_names_it() {
        let machine = machine(&disk());
        let found = look(&machine);
        assert_eq!(found.devices, [machine.path().join("dev/vda2")]);
        assert_eq!(found.damaged, Vec::<String>::new());
    }

    #[test]
    fn a_damaged_primary_table_is_replaced_by_the_backup() {
        let mut content = disk();
        content[512 + 80] ^= 1;
        assert_eq!(look(&machine(&content)).devices.len(), 1);
        content[63 * 512 + 80] ^= 1;
        let found = look(&machine(&content));
        assert_eq!(found.devices.len(), 0);
        assert!(
            found.damaged[0].contains("vda: damaged"),
            "{:?}",
            found.damaged
        );
    }

    #[test]
    fn a_blank_disk_is_no_problem() {
        let found = look(&machine(&[0; 64 * 512]));
        assert_eq!((found.devices.len(), found.damaged.len()), (0, 0));
    }
}
