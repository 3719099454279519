//! `image vary`: another release out of a UKI, e.g. to try an update with.
//!
//! It builds nothing: version, command line and single files are laid over what the UKI holds, as one
//! more segment of its initramfs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use formats::paths;

use super::place::Place;
use super::{read, write};
use crate::assemble;
use crate::osrelease::Version;
use crate::tree::{Tree, cpio};
use crate::uki::{self, Uki};

#[derive(Debug, Args)]
pub(super) struct Vary {
    /// The UKI to begin with
    #[arg(long, value_name = "FILE")]
    uki: PathBuf,
    /// The other version
    #[arg(long, value_name = "VERSION")]
    version_string: String,
    /// A program or file to lay over the initramfs: PATH=FILE
    #[arg(long, value_name = "PATH=FILE", value_parser = pair)]
    put: Vec<(String, PathBuf)>,
    /// Words to add to the kernel's command line
    #[arg(long, value_name = "WORDS")]
    cmdline: Option<String>,
    /// The other UKI
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    place: Place,
}

fn pair(text: &str) -> Result<(String, PathBuf), String> {
    let (path, file) = text.split_once('=').ok_or("expected PATH=FILE")?;
    Ok((path.to_owned(), file.into()))
}

pub(super) fn vary(arguments: &Vary) -> Result<()> {
    let place = arguments.place.open()?;
    let bytes = read(&arguments.uki)?;
    let uki = Uki::read(&bytes).with_context(|| arguments.uki.display().to_string())?;
    let version = Version::new(&arguments.version_string)?;
    let text = |name| String::from_utf8_lossy(uki.section(name)).into_owned();
    let os_release = other_version(&text(".osrel"), &version);
    let mut over = Tree::default();
    over.file(paths::OS_RELEASE, 0o644, os_release.clone().into_bytes())?;
    for (path, file) in &arguments.put {
        over.file(path, 0o755, read(file)?)?;
    }
    let mut initrd = uki.initrd().to_vec();
    let date = uki.source_date.unwrap_or(place.recipe.image.epoch);
    initrd.extend(cpio::write(&over, date)?);
    let mut cmdline = text(".cmdline").trim_end_matches('\0').to_owned();
    if let Some(words) = &arguments.cmdline {
        cmdline = format!("{cmdline} {words}");
    }
    let boot = place.cache.package("boot")?.folder;
    let parts = uki::Parts {
        os_release: &os_release,
        cmdline: &cmdline,
        kernel_release: &text(".uname"),
        linux: uki.section(".linux"),
        initrd: &initrd,
    };
    let other = uki::build(&read(&boot.join(assemble::STUB))?, &parts)?;
    write(&arguments.out, &other)?;
    println!("{}", arguments.out.display());
    Ok(())
}

/// The text with this version wherever the old one stood.
fn other_version(text: &str, version: &Version) -> String {
    let name = crate::osrelease::value(text, "NAME").unwrap_or_default();
    let line = |line: &str| match line.split_once('=') {
        Some((key @ ("VERSION_ID" | "IMAGE_VERSION"), _)) => format!("{key}={version}\n"),
        Some((key @ "PRETTY_NAME", _)) => format!("{key}=\"{name} {version}\"\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::osrelease::OsRelease;

    #[test]
    fn another_version_is_another_version_throughout() {
        let release = |version: &str| OsRelease {
            id: "skeg".into(),
            name: "Skeg".into(),
            version: Version::new(version).unwrap(),
            variant: "vm".into(),
            source_date: 7,
        };
        let other = other_version(
            &release("1.0.0").to_string(),
            &Version::new("1.1.0").unwrap(),
        );
        assert_eq!(other, release("1.1.0").to_string());
    }
}
