//! `image inspect` and `image check`: what is in a UKI, and what must not be.
//!
//! Reads a UKI and nothing else; works without recipe and cache.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::read;
use crate::tree::{Content, check as forbidden, cpio};
use crate::uki::{Uki, pe::Section};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The UKI, or a repository's folder
    file: PathBuf,
    /// List the initramfs too
    #[arg(long)]
    files: bool,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The UKI
    file: PathBuf,
}

pub(super) fn inspect(arguments: &Inspect) -> Result<()> {
    #[cfg(feature = "publish")]
    if arguments.file.is_dir() {
        return super::publish::inspect(&arguments.file);
    }
    let bytes = read(&arguments.file)?;
    let uki = Uki::read(&bytes).with_context(|| arguments.file.display().to_string())?;
    println!("{} {}, {} bytes", uki.id, uki.version, bytes.len());
    for section in &uki.sections {
        let (name, offset, length) = (section.name, section.offset, section.data.len());
        println!(
            "{name:<9} at {offset:>9}, {length:>9} bytes{}",
            shown(section)
        );
    }
    if arguments.files {
        for (path, entry) in cpio::read(uki.initrd())?.iter() {
            let (kind, detail) = match &entry.content {
                Content::File(bytes) => ('-', bytes.len().to_string()),
                Content::Directory => ('d', String::new()),
                Content::Link(target) => ('l', format!("-> {target}")),
                Content::Device { major, minor } => ('c', format!("{major}:{minor}")),
            };
            println!("{kind} {:04o} /{path} {detail}", entry.mode);
        }
    }
    Ok(())
}

/// The text of a section that is one line of text.
fn shown(section: &Section) -> String {
    match std::str::from_utf8(section.data) {
        Ok(text) if matches!(section.name, ".cmdline" | ".uname") => format!(": {text}"),
        _ => String::new(),
    }
}

pub(super) fn check(arguments: &Check) -> Result<()> {
    let bytes = read(&arguments.file)?;
    let uki = Uki::read(&bytes).with_context(|| arguments.file.display().to_string())?;
    let found = forbidden::findings(&cpio::read(uki.initrd())?);
    if !found.is_empty() {
        bail!(
            "{} is not for users:\n  {}",
            arguments.file.display(),
            found.join("\n  ")
        );
    }
    println!(
        "{}: no shell, no C library, no test channel",
        arguments.file.display()
    );
    Ok(())
}
