//! STATE grows with its disk, in steps that a power cut may separate: partition table, the
//! kernel's partition, file system.
//!
//! Nothing is formatted, moved or made smaller. Each step is recognised from the disk alone, so a
//! boot after a cut goes on where the last one ended.

pub mod plan;
pub mod table;

use super::superblock::Superblock;
use plan::{Geometry, Plan, plan};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The kernel counts disks and partitions in these, whatever their blocks are.
const SECTOR: u64 = 512;
/// How much the file system grows at a time: seconds, so that the watchdog is fed between.
const PORTION: u64 = 64 << 30;
/// Ext4's groups, in bytes, with blocks of 4 KiB.
const GROUP: u64 = 128 << 20;

/// A partition, its disk, and what sysfs says about both.
#[derive(Debug)]
struct Place {
    disk: PathBuf,
    sysfs: PathBuf,
    geometry: Geometry,
    number: u64,
    /// In bytes.
    start: u64,
}

/// Makes the partition as large as its disk allows; true when it grew.
///
/// # Errors
/// A sentence: why the disk is left as it is, or which step failed.
pub fn partition(device: &Path) -> Result<bool, String> {
    let place = Place::of(device).map_err(|e| format!("{}: {e}", device.display()))?;
    let named =
        |what: &str, e: &dyn std::fmt::Display| format!("{what} {}: {e}", place.disk.display());
    let disk = File::open(&place.disk).map_err(|e| named("open", &e))?;
    let plan = plan(place.geometry, |at, length| {
        let mut bytes = vec![0; length];
        let offset = at.checked_mul(place.geometry.block as u64)?;
        disk.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    });
    let plan = plan.map_err(|e| named("disk", &e))?;
    let start = plan.state.first * place.geometry.block as u64;
    if u64::from(plan.state.number) != place.number || start != place.start {
        return Err(named("disk", &"the kernel counts its partitions otherwise"));
    }
    write(&plan, &place.disk).map_err(|e| named("write to", &e))?;
    let grew = resize(&plan, &place).map_err(|e| named("resize the partition on", &e))?;
    Ok(grew || !plan.steps.is_empty())
}

fn write(plan: &Plan, disk: &Path) -> io::Result<()> {
    for step in &plan.steps {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", step.name));
        let disk = OpenOptions::new().write(true).open(disk).map_err(named)?;
        for (at, bytes) in &step.writes {
            disk.write_all_at(bytes, *at).map_err(named)?;
        }
        disk.sync_all().map_err(named)?;
    }
    Ok(())
}

/// Tells the kernel, which read the table when it found the disk.
fn resize(plan: &Plan, place: &Place) -> io::Result<bool> {
    let block = place.geometry.block as u64;
    let length = (plan.state.last - plan.state.first + 1) * block;
    if number(&place.sysfs.join("size"))? * SECTOR >= length {
        return Ok(false);
    }
    let disk = OpenOptions::new().write(true).open(&place.disk)?;
    sys::block::resize_partition(disk.as_fd(), plan.state.number, place.start, length)?;
    Ok(true)
}

/// Makes the mounted file system as large as its partition; true when it grew. `alive` is called
/// between portions.
///
/// # Errors
/// A sentence: the kernel's refusal, after what has grown so far.
pub fn file_system(device: &Path, mounted: &Path, mut alive: impl FnMut()) -> Result<bool, String> {
    let named = |what: &str, e: &dyn std::fmt::Display| format!("{what} {}: {e}", device.display());
    let place = Place::of(device).map_err(|e| named("look at", &e))?;
    let bytes = number(&place.sysfs.join("size")).map_err(|e| named("look at", &e))? * SECTOR;
    let look = || Superblock::read(device).map_err(|e| named("read", &e));
    let root = File::open(mounted).map_err(|e| named("open the root of", &e))?;
    let mut now = look()?;
    let first = now.blocks;
    while let Some(next) = next_size(now.blocks * now.block_size, bytes) {
        let resized = sys::block::resize_ext4(root.as_fd(), next / now.block_size);
        let before = std::mem::replace(&mut now, look()?);
        alive();
        match resized {
            Err(e) => return Err(named("grow the file system on", &e)),
            Ok(()) if now.blocks == before.blocks => break,
            Ok(()) => {}
        }
    }
    Ok(now.blocks > first)
}

/// How large the file system is to be next, in bytes; none when it fills its place.
fn next_size(now: u64, place: u64) -> Option<u64> {
    let place = place / 4096 * 4096;
    let portion = (now / GROUP * GROUP).saturating_add(PORTION).min(place);
    (portion > now).then_some(portion)
}

impl Place {
    fn of(device: &Path) -> io::Result<Self> {
        let name = device.file_name().unwrap_or_default();
        let sysfs = fs::canonicalize(Path::new("/sys/class/block").join(name))?;
        let of_disk = sysfs.parent().unwrap_or(&sysfs).to_owned();
        let disk = device.with_file_name(of_disk.file_name().unwrap_or_default());
        let block = number(&of_disk.join("queue/logical_block_size"))?;
        let odd = || io::Error::other(format!("blocks of {block} bytes"));
        if !(SECTOR..=4096).contains(&block) || !block.is_power_of_two() {
            return Err(odd());
        }
        let blocks = number(&of_disk.join("size"))? * SECTOR / block;
        Ok(Self {
            disk,
            number: number(&sysfs.join("partition"))?,
            start: number(&sysfs.join("start"))? * SECTOR,
            sysfs,
            geometry: Geometry {
                block: usize::try_from(block).map_err(|_| odd())?,
                last: blocks.saturating_sub(1),
            },
        })
    }
}

fn number(path: &Path) -> io::Result<u64> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    let wrong = |_| io::Error::other(format!("{}: {text:?} is no number", path.display()));
    text.trim().parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_grows_in_portions_that_end_on_groups() {
        assert_eq!(next_size(5 << 30, 6 << 30), Some(6 << 30));
        assert_eq!(
            next_size((5 << 30) + 4096, 1 << 40),
            Some((5 << 30) + PORTION)
        );
        assert_eq!(next_size(6 << 30, (6 << 30) + 512), None);
        let mut size = 5u64 << 30;
        let mut portions = 0;
        while let Some(next) = next_size(size, 1 << 40) {
            (size, portions) = (next, portions + 1);
        }
        assert_eq!((size, portions), (1 << 40, 16));
    }
}
