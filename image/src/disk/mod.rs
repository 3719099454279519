//! A whole disk as one sparse file: GPT, the ESP with loader and UKI, and STATE.
//!
//! Never mounts and never needs a privilege; a disk appears under its name only when it is whole.

pub mod esp;
pub mod guid;
pub mod layout;
pub mod state;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use layout::{Layout, LayoutError, SECTOR};

use crate::host::ToolError;
use crate::progress;
use crate::recipe::Recipe;

/// Why a disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The size.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A tool of the host.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The partition table.
    #[error("write the partition table: {0}")]
    Gpt(String),
    /// The UKI is not small enough for updates.
    #[error("the ESP holds {esp} bytes, which is less than three UKI of {uki} bytes")]
    EspTooSmall {
        /// Bytes of the ESP.
        esp: u64,
        /// Bytes of the UKI.
        uki: u64,
    },
    /// The configuration folder.
    #[error("configuration {path}: {reason}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// debugfs reports failures in words only.
    #[error("debugfs: {0}")]
    Debugfs(String),
    /// A file of ours.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What goes onto a disk.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The UKI's file.
    pub uki: &'a Path,
    /// The name it gets on the ESP.
    pub uki_name: &'a str,
    /// The loader.
    pub loader: &'a Path,
    /// A generation of the configuration, `config.json` and `etc/`.
    pub config: Option<&'a Path>,
    /// Seconds since 1970.
    pub source_date: u64,
}

/// Makes a disk of `size` bytes at `out`.
///
/// # Errors
/// When an ingredient or a tool is missing, or the size is too small.
pub fn make(recipe: &Recipe, contents: &Contents, size: u64, out: &Path) -> Result<(), DiskError> {
    let layout = Layout::of(size, &recipe.disk)?;
    let uki = fs::metadata(contents.uki).map_err(at(contents.uki))?.len();
    if layout.esp.bytes() < uki.saturating_mul(3) {
        return Err(DiskError::EspTooSmall {
            esp: layout.esp.bytes(),
            uki,
        });
    }
    // Absolute, since debugfs runs in another folder.
    let mut partial = std::path::absolute(out).map_err(at(out))?.into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let result = fill(recipe, contents, &layout, &partial)
        .and_then(|()| fs::rename(&partial, out).map_err(at(out)));
    if result.is_err() {
        let _ = fs::remove_file(&partial);
    }
    result
}

fn fill(
    recipe: &Recipe,
    contents: &Contents,
    layout: &Layout,
    disk: &Path,
) -> Result<(), DiskError> {
    let id = &recipe.image.id;
    let file = File::create(disk).map_err(at(disk))?;
    file.set_len(layout.size).map_err(at(disk))?;
    write_table(disk, layout, id)?;
    progress::timed("writing the ESP", || {
        esp::write(disk, layout.esp, guid::volume_id(id), contents)
    })?;
    progress::timed("writing STATE", || {
        state::write(disk, layout.state, &recipe.disk, id, contents)
    })
}

fn write_table(disk: &Path, layout: &Layout, id: &str) -> Result<(), DiskError> {
    let failed = |error: &dyn std::fmt::Display| DiskError::Gpt(error.to_string());
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(disk)
        .map_err(at(disk))?;
    let last = u32::try_from(layout.size / SECTOR - 1).unwrap_or(u32::MAX);
    let mbr = gpt::mbr::ProtectiveMBR::with_lb_size(last);
    mbr.overwrite_lba0(&mut file).map_err(|e| failed(&e))?;
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .create_from_device(file, Some(guid::derive(id, "disk")))
        .map_err(|e| failed(&e))?;
    table
        .update_partitions(layout.partitions(id)?)
        .map_err(|e| failed(&e))?;
    table.write().map_err(|e| failed(&e))?;
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DiskError + '_ {
    move |source| DiskError::Io {
        path: path.to_owned(),
        source,
    }
}
