//! The EFI system partition: FAT32 with the loader and the first UKI, written in place by mtools.
//!
//! Times come from the source date; which files lie there is all that the loader is told.

use std::ffi::OsString;
use std::path::Path;

use super::layout::{Extent, SECTOR};
use super::{Contents, DiskError, at};
use crate::host::{MCOPY, MKFS_VFAT, MMD};

/// No menu unless a key is held, and no way to edit the command line.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

/// Makes the file system at its place on the disk and fills it.
///
/// # Errors
/// When a tool is missing or fails.
pub fn write(
    disk: &Path,
    place: Extent,
    volume: u32,
    contents: &Contents,
) -> Result<(), DiskError> {
    let date = contents.source_date.to_string();
    // Nothing of the user's mtools configuration.
    let environment = [("SOURCE_DATE_EPOCH", &*date), ("MTOOLSRC", "/dev/null")];
    let sectors = (place.start / SECTOR).to_string();
    let mut make: Vec<OsString> = ["--invariant", "-F", "32", "-s", "8", "-n", "ESP", "-i"]
        .map(OsString::from)
        .into();
    make.push(format!("{volume:08x}").into());
    make.extend(["-h", &sectors, "--offset", &sectors].map(OsString::from));
    make.push(disk.into());
    make.push((place.bytes() / 1024).to_string().into());
    MKFS_VFAT.run(make, &environment)?;

    let mut image = disk.as_os_str().to_owned();
    image.push(format!("@@{}", place.start));
    let on_image = |rest: &[&std::ffi::OsStr]| {
        let mut all = vec![OsString::from("-i"), image.clone()];
        all.extend(rest.iter().map(OsString::from));
        all
    };
    let folders = ["::/EFI", "::/EFI/BOOT", "::/EFI/Linux", "::/loader"];
    MMD.run(on_image(&folders.map(AsRef::as_ref)), &environment)?;
    let mut conf = disk.as_os_str().to_owned();
    conf.push(".loader.conf");
    std::fs::write(&conf, LOADER_CONF).map_err(at(Path::new(&conf)))?;
    let uki = format!("::/EFI/Linux/{}", contents.uki_name);
    let copies = [
        (contents.loader, "::/EFI/BOOT/BOOTX64.EFI"),
        (Path::new(&conf), "::/loader/loader.conf"),
        (contents.uki, &*uki),
    ];
    let copied = copies.iter().try_for_each(|(from, to)| {
        let arguments = on_image(&[from.as_os_str(), to.as_ref()]);
        MCOPY.run(arguments, &environment).map(drop)
    });
    let _ = std::fs::remove_file(&conf);
    Ok(copied?)
}
