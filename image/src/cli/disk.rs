//! `image disk`.
//!
//! Takes version, name and date from the UKI, so a disk is a function of UKI and configuration.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::place::Place;
use super::read;
use crate::assemble;
use crate::disk::{self, layout};
use crate::uki::Uki;

#[derive(Debug, Args)]
pub(super) struct Disk {
    /// The UKI that the disk boots
    #[arg(long, value_name = "FILE")]
    uki: PathBuf,
    /// The disk, a sparse file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// First generation of the host's configuration: a folder with etc/ and, if need be, config.json
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Size of the whole disk
    #[arg(long, default_value = "4G", value_parser = layout::parse_size)]
    size: u64,
    #[command(flatten)]
    place: Place,
}

pub(super) fn make(arguments: &Disk) -> Result<()> {
    let place = arguments.place.open()?;
    let bytes = read(&arguments.uki)?;
    let uki = Uki::read(&bytes).with_context(|| arguments.uki.display().to_string())?;
    let loader = place.cache.package("boot")?.folder.join(assemble::LOADER);
    if let Some(config) = arguments.config.as_ref().filter(|config| !config.is_dir()) {
        bail!("--config {}: no such folder", config.display());
    }
    let contents = disk::Contents {
        uki: &arguments.uki,
        uki_name: &uki.file_name(),
        loader: &loader,
        config: arguments.config.as_deref(),
        source_date: uki.source_date.unwrap_or(place.recipe.image.epoch),
    };
    disk::make(&place.recipe, &contents, arguments.size, &arguments.out)?;
    println!("{}", arguments.out.display());
    Ok(())
}
