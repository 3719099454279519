//! `image build` and `image reproduce`.
//!
//! Results appear under their names when they are whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::place::{Place, source_date, workspace};
use super::write;
use crate::assemble::{self, Inputs};
use crate::crates::{self, Crate};
use crate::osrelease::Version;
use crate::uki::Uki;
use crate::{progress, reproduce as twice, sbom};

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
pub(super) struct Reproduce {
    /// Folder to build in, removed when all is equal
    #[arg(long, value_name = "DIR")]
    work: PathBuf,
    #[command(flatten)]
    subject: Subject,
}

/// What is built.
#[derive(Debug, Args)]
struct Subject {
    /// Profile of the recipe
    #[arg(long, default_value = "vm")]
    profile: String,
    /// A static program that the recipe names; once for each
    #[arg(long, value_name = "NAME=PATH", value_parser = program)]
    program: Vec<(String, PathBuf)>,
    /// Version of the image
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    version_string: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn build(arguments: &Build) -> Result<()> {
    let subject = &arguments.subject;
    let place = subject.place.open()?;
    let inputs = Inputs {
        folder: &place.folder,
        binaries: subject.binaries(),
        cache: &place.cache,
        version: Version::new(&subject.version_string)?,
        source_date: source_date(&place)?,
    };
    let image = assemble::assemble(&place.recipe, &subject.profile, &inputs)?;
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    write(&out.join("vmlinuz"), &image.vmlinuz)?;
    write(&out.join("initrd.cpio"), &image.initrd)?;
    write(&out.join("cmdline"), image.cmdline.as_bytes())?;
    let bill = serde_json::to_vec_pretty(&sbom::bill(
        &image,
        place.cache.release(),
        &crates_of_programs()?,
    ))?;
    write(&out.join("sbom.json"), &bill)?;
    let bytes = image.uki()?;
    let name = Uki::read(&bytes)?.file_name();
    remove_others(out, &format!("{}_", image.os_release.id), &name)?;
    write(&out.join(&name), &bytes)?;
    println!("{}", out.join(&name).display());
    Ok(())
}

/// The crates behind our programs, where the workspace is at hand.
fn crates_of_programs() -> Result<Vec<Crate>> {
    let Some(workspace) = workspace() else {
        progress::step("no workspace here: the SBOM lists no crates");
        return Ok(Vec::new());
    };
    let lock = workspace.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
    let mut manifests = BTreeMap::new();
    for entry in fs::read_dir(&workspace)? {
        let folder = entry?.path();
        if let (Some(name), Ok(text)) = (
            folder.file_name().and_then(|name| name.to_str()),
            fs::read_to_string(folder.join("Cargo.toml")),
        ) {
            manifests.insert(name.to_owned(), text);
        }
    }
    Ok(crates::of(&lock, &manifests, &["init", "skeg", "ssh"])?)
}

/// A folder of results holds one UKI: that of the last build.
fn remove_others(out: &Path, prefix: &str, name: &str) -> Result<()> {
    for entry in fs::read_dir(out).with_context(|| format!("read {}", out.display()))? {
        let path = entry?.path();
        let file = path
            .file_name()
            .and_then(|file| file.to_str())
            .unwrap_or("");
        if file.starts_with(prefix) && file.ends_with(".efi") && file != name {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

impl Subject {
    fn binaries(&self) -> BTreeMap<&str, PathBuf> {
        let given = self.program.iter();
        given
            .map(|(name, path)| (name.as_str(), path.clone()))
            .collect()
    }
}

fn program(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

pub(super) fn reproduce(arguments: &Reproduce) -> Result<()> {
    let subject = &arguments.subject;
    let place = subject.place.open()?;
    let binaries = subject.binaries();
    fs::create_dir(&arguments.work)
        .with_context(|| format!("make {}, which must be new", arguments.work.display()))?;
    let work = std::path::absolute(&arguments.work)?;
    let both = twice::Subject {
        program: std::env::current_exe().context("find this program")?,
        recipe: &std::path::absolute(&place.folder)?,
        cache: place.cache.folder(),
        profile: &subject.profile,
        binaries: binaries
            .iter()
            .map(|(name, path)| (*name, path.as_path()))
            .collect(),
        version: &subject.version_string,
        source_date: source_date(&place)?,
    };
    let names = twice::twice(&both, &work)?;
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    println!("equal in both builds: {}", names.join(", "));
    Ok(())
}
