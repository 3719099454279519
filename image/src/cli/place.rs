//! Where recipe, lock, cache and workspace lie, and the date of the sources.
//!
//! Never builds anything; `fetch` only fills the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::debian::cache::Cache;
use crate::debian::lock::Lock;
use crate::progress;
use crate::recipe::Recipe;

#[derive(Debug, Args)]
pub(super) struct Place {
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
pub(super) struct Fetch {
    #[command(flatten)]
    place: Place,
}

pub(super) fn fetch(arguments: &Fetch) -> Result<()> {
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
pub(super) struct Opened {
    pub(super) folder: PathBuf,
    pub(super) recipe: Recipe,
    pub(super) cache: Cache,
}

impl Place {
    pub(super) fn open(&self) -> Result<Opened> {
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
pub(super) fn workspace() -> Option<PathBuf> {
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
pub(super) fn source_date(place: &Opened) -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        let seconds = text.parse();
        return seconds.with_context(|| {
            format!("SOURCE_DATE_EPOCH={text:?}: expected seconds since 1970 as a number")
        });
    }
    let git = Command::new("git")
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
