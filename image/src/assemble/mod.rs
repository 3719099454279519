//! From a resolved recipe to the pieces of an image: trees, segments, kernel, command line.
//!
//! Decides nothing that the recipe could say; writes nothing.

mod contents;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use contents::{Work, read};

use crate::accounts::AccountError;
use crate::debian::cache::{Cache, CacheError, Package};
use crate::modules::{Kernel, ModuleError};
use crate::osrelease::{OsRelease, Version};
use crate::recipe::{Recipe, RecipeError};
use crate::seccomp::SeccompError;
use crate::tree::cpio::{self, CpioError};
use crate::tree::{Tree, TreeError};
use crate::uki::{self, UkiError};

/// Where the package of role `boot` has the stub.
pub const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Where the package of role `boot` has the loader.
pub const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// Why an image cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The table of users.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// A service file.
    #[error("services/{0}")]
    Service(#[from] formats::service::ServiceError),
    /// A service's filter.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// A service whose user is nowhere.
    #[error("services/{service}: User= or Group={account}: not in the table of accounts")]
    NoAccount {
        /// The file.
        service: String,
        /// The name.
        account: String,
    },
    /// The recipe.
    #[error("recipe: {0}")]
    Recipe(#[from] RecipeError),
    /// A Debian package.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A kernel module.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// An entry of the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The archive.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// A binary that the profile needs.
    #[error("profile {profile} needs --program {name}=PATH")]
    NoBinary {
        /// The profile.
        profile: String,
        /// The binary.
        name: String,
    },
    /// A file that the recipe names.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What comes from outside the recipe.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The folder of the recipe, with `etc/`, `services/` and `accounts`.
    pub folder: &'a Path,
    /// Binaries by the names that the recipe uses.
    pub binaries: BTreeMap<&'a str, PathBuf>,
    /// Debian's packages.
    pub cache: &'a Cache,
    /// The version to build.
    pub version: Version,
    /// Seconds since 1970 for everything in the image.
    pub source_date: u64,
}

/// An image in pieces.
#[derive(Debug)]
pub struct Image {
    /// What it says about itself.
    pub os_release: OsRelease,
    /// The kernel command line, without a line end.
    pub cmdline: String,
    /// The kernel.
    pub vmlinuz: Vec<u8>,
    /// The stub that a UKI begins with.
    pub stub: Vec<u8>,
    /// The kernel's release.
    pub kernel_release: String,
    /// The initramfs: all segments.
    pub initrd: Vec<u8>,
    /// What the kernel will make of the initramfs.
    pub tree: Tree,
    /// Packages that something was taken from.
    pub packages: Vec<Package>,
}

/// Puts one profile together.
///
/// # Errors
/// When an ingredient is missing or not what it should be.
pub fn assemble(recipe: &Recipe, profile: &str, inputs: &Inputs) -> Result<Image, AssembleError> {
    let resolved = recipe.resolve(profile)?;
    let wanted = resolved.segment.map_or(&[][..], |segment| &segment.files);
    for file in resolved.base.1.files.iter().chain(wanted) {
        if !file.from.contains(':') {
            inputs.binary(&file.from, profile)?;
        }
    }
    let mut work = Work {
        recipe,
        inputs,
        kernel: Kernel::open(&inputs.cache.package("kernel")?.folder)?,
        packages: BTreeMap::new(),
        profile: &resolved,
    };
    work.package("kernel")?;
    let stub = work.package("boot")?.folder.join(STUB);
    // Not the source date: it would change what lies between any two large files in each release.
    let time = recipe.image.epoch;
    let base = work.base()?;
    let mut initrd = cpio::write(&base, time)?;
    let mut tree = base;
    if let Some(segment) = work.segment()? {
        initrd.extend(cpio::write(&segment, time)?);
        tree = tree.overlaid(segment);
    }
    Ok(Image {
        os_release: work.os_release(resolved.name),
        cmdline: resolved.base.1.cmdline.join(" "),
        stub: read(&stub)?,
        vmlinuz: work.kernel.vmlinuz()?,
        kernel_release: work.kernel.release.clone(),
        initrd,
        tree,
        packages: work.packages.into_values().collect(),
    })
}

impl Inputs<'_> {
    fn binary(&self, name: &str, profile: &str) -> Result<&Path, AssembleError> {
        let path = self.binaries.get(name).map(PathBuf::as_path);
        path.ok_or_else(|| AssembleError::NoBinary {
            profile: profile.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl Image {
    /// The UKI of the image.
    ///
    /// # Errors
    /// When the stub or the kernel is none.
    pub fn uki(&self) -> Result<Vec<u8>, UkiError> {
        uki::build(
            &self.stub,
            &uki::Parts {
                os_release: &self.os_release.to_string(),
                cmdline: &self.cmdline,
                kernel_release: &self.kernel_release,
                linux: &self.vmlinuz,
                initrd: &self.initrd,
            },
        )
    }
}
