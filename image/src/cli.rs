//! The command line: `build`, `disk`, `fetch`, `inspect`, `check`.
//!
//! Reads the environment and the file system once, here; the rest of the crate takes values.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::assemble::{self, Inputs};
use crate::crates::{self, Crate};
use crate::debian::cache::Cache;
use crate::debian::lock::Lock;
use crate::disk::{self, layout};
use crate::osrelease::Version;
use crate::progress;
use crate::recipe::Recipe;
use crate::reproduce;
use crate::sbom;
use crate::tree::{Content, check, cpio};
use crate::uki::{Uki, pe::Section};

/// Builds Skeg's images, reproducibly and without privileges.
#[derive(Debug, Parser)]
#[command(name = "image", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a profile: UKI, and its kernel, initramfs and command line one by one
    Build(Build),
    /// Make a GPT disk that boots a UKI: ESP with loader and UKI, and STATE
    Disk(Disk),
    /// Fill the cache with all packages of the lock and say where the firmware lies
    Fetch(Fetch),
    /// Build image and disk twice, on other paths and under another umask, and compare the bytes
    Reproduce(Reproduce),
    /// Show what a UKI consists of
    Inspect(Inspect),
    /// Fail when a UKI holds a shell, a C library or the test channel
    Check(Check),
}

#[derive(Debug, Args)]
struct Place {
    /// Folder with recipe.toml, debian.lock, etc/ and services/ [default: image/ of the workspace]
    #[arg(long, value_name = "DIR")]
    recipe: Option<PathBuf>,
    /// Where unpacked Debian packages are kept [default: debian/ in cargo's target folder]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Debian mirror to use instead of the one in the machine's apt sources
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Refuse any package but the pinned versions
    #[arg(long)]
    locked: bool,
}

#[derive(Debug, Args)]
struct Build {
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    subject: Subject,
}

#[derive(Debug, Args)]
struct Reproduce {
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
    /// The static PID 1
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// The static multi-call binary
    #[arg(long, value_name = "PATH")]
    skeg: Option<PathBuf>,
    /// The tests' agent, for profile `test`
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// Version of the image
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    version_string: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Disk {
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

#[derive(Debug, Args)]
struct Inspect {
    /// The UKI
    file: PathBuf,
    /// List the initramfs too
    #[arg(long)]
    files: bool,
}

#[derive(Debug, Args)]
struct Check {
    /// The UKI
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Fetch {
    #[command(flatten)]
    place: Place,
}

/// Runs the command line of this process.
///
/// # Errors
/// What went wrong, for a person to read.
pub fn run() -> Result<()> {
    match Arguments::parse().command {
        Command::Build(arguments) => build(&arguments),
        Command::Disk(arguments) => make_disk(&arguments),
        Command::Fetch(arguments) => fetch(&arguments),
        Command::Reproduce(arguments) => reproduce(&arguments),
        Command::Inspect(arguments) => inspect(&arguments),
        Command::Check(arguments) => check(&arguments),
    }
}

/// An error and its causes on one line; a cause that the sentence before it already quotes is left
/// out.
#[must_use]
pub fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn build(arguments: &Build) -> Result<()> {
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
    Ok(crates::of(&lock, &manifests, &["init", "skeg"])?)
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

fn make_disk(arguments: &Disk) -> Result<()> {
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

fn inspect(arguments: &Inspect) -> Result<()> {
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

fn check(arguments: &Check) -> Result<()> {
    let bytes = read(&arguments.file)?;
    let uki = Uki::read(&bytes).with_context(|| arguments.file.display().to_string())?;
    let found = check::findings(&cpio::read(uki.initrd())?);
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

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

impl Subject {
    fn binaries(&self) -> BTreeMap<&str, PathBuf> {
        let given = [
            ("init", &self.init),
            ("skeg", &self.skeg),
            ("agent", &self.agent),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(name, path)| Some((name, path.clone()?)))
            .collect()
    }
}

fn reproduce(arguments: &Reproduce) -> Result<()> {
    let subject = &arguments.subject;
    let place = subject.place.open()?;
    let binaries = subject.binaries();
    fs::create_dir(&arguments.work)
        .with_context(|| format!("make {}, which must be new", arguments.work.display()))?;
    let work = std::path::absolute(&arguments.work)?;
    let twice = reproduce::Subject {
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
    let names = reproduce::twice(&twice, &work)?;
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    println!("equal in both builds: {}", names.join(", "));
    Ok(())
}

fn fetch(arguments: &Fetch) -> Result<()> {
    let place = arguments.place.open()?;
    for role in place.cache.roles() {
        let package = place.cache.package(role)?;
        println!(
            "{role} {} {}",
            package.taken.version,
            package.folder.display()
        );
    }
    let firmware = place.cache.firmware()?;
    println!("ovmf-code {}", firmware.join("OVMF_CODE_4M.fd").display());
    println!("ovmf-vars {}", firmware.join("OVMF_VARS_4M.fd").display());
    Ok(())
}

/// The recipe and the cache, opened.
struct Opened {
    folder: PathBuf,
    recipe: Recipe,
    cache: Cache,
}

impl Place {
    fn open(&self) -> Result<Opened> {
        let folder = match &self.recipe {
            Some(folder) => folder.clone(),
            None => recipe_folder()?,
        };
        let text = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path);
            text.with_context(|| format!("read {}", path.display()))
        };
        let recipe = Recipe::parse(&text("recipe.toml")?).context("recipe.toml")?;
        let lock = Lock::parse(&text("debian.lock")?).context("debian.lock")?;
        let cache = match &self.cache {
            Some(cache) => cache.clone(),
            None => target_folder(&folder).join("debian"),
        };
        fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
        let cache = cache
            .canonicalize()
            .with_context(|| format!("find {}", cache.display()))?;
        Ok(Opened {
            folder,
            recipe,
            cache: Cache::new(cache, lock, self.locked, self.mirror.clone()),
        })
    }
}

/// The workspace that cargo runs in, or that we stand in.
fn workspace() -> Option<PathBuf> {
    let holds = |folder: &Path| folder.join("image/recipe.toml").exists();
    let member = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let of_cargo = member.and_then(|folder| folder.parent().map(Path::to_owned));
    let here = std::env::current_dir().ok()?;
    let mut places = of_cargo
        .iter()
        .map(PathBuf::as_path)
        .chain(here.ancestors());
    places.find(|folder| holds(folder)).map(Path::to_owned)
}

fn recipe_folder() -> Result<PathBuf> {
    let workspace = workspace();
    let workspace = workspace
        .context("no image/recipe.toml here or above: name its folder with --recipe DIR")?;
    Ok(workspace.join("image"))
}

/// Cargo's target folder, whichever recipe is built: copies of a recipe share the packages.
fn target_folder(recipe: &Path) -> PathBuf {
    let workspace = workspace().unwrap_or_else(|| recipe.join(".."));
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) if !folder.is_empty() => workspace.join(folder),
        _ => workspace.join("target"),
    }
}

/// The time that everything in the image gets: what the caller says, else the time of the commit
/// that is built, else the recipe's.
fn source_date(place: &Opened) -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        let seconds = text.parse();
        return seconds.with_context(|| {
            format!("SOURCE_DATE_EPOCH={text:?}: expected seconds since 1970 as a number")
        });
    }
    let git = Process::new("git")
        .current_dir(&place.folder)
        .args(["log", "-1", "--format=%ct"])
        .output();
    let commit = git.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().parse().ok()
    });
    if commit.is_none() {
        progress::step("no SOURCE_DATE_EPOCH and no git commit: taking the recipe's epoch");
    }
    Ok(commit.unwrap_or(place.recipe.image.epoch))
}

/// Writes a result under a temporary name first, so that a cut build leaves no half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("write {}", path.display()))
}
