//! Kernel modules: which an image needs, in what order they load, and their bytes.
//!
//! A Debian package holds no `modules.dep`, so dependencies come from each module's own `.modinfo`.
//! Never runs depmod, and never packs a module that nothing asked for.

pub mod modinfo;
pub mod resolve;
pub mod signature;
pub mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use resolve::Catalogue;

/// Why modules cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The package is no kernel.
    #[error("{0}: expected one kernel release in it")]
    NoRelease(PathBuf),
    /// Neither a module nor built in.
    #[error("kernel module {name} (for {wanted_by}): the kernel has none of that name")]
    Unknown {
        /// The module.
        name: String,
        /// Who needs it.
        wanted_by: String,
    },
    /// A module's file is not what it should be.
    #[error("kernel module {path}: {reason}")]
    Malformed {
        /// Which.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of the package.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A module, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Relative to /usr/lib/modules, e.g. `6.12.117/kernel/net/veth.ko`.
    pub path: String,
    /// The ELF object.
    pub bytes: Vec<u8>,
}

/// The modules of an unpacked kernel package.
#[derive(Debug)]
pub struct Kernel {
    folder: PathBuf,
    /// The kernel's release, as `uname -r` gives it.
    pub release: String,
    files: BTreeMap<String, String>,
    builtin: BTreeSet<String>,
}

impl Kernel {
    /// Looks through a kernel package.
    ///
    /// # Errors
    /// When it holds no kernel.
    pub fn open(package: &Path) -> Result<Self, ModuleError> {
        let folder = package.join("usr/lib/modules");
        let releases = list(&folder)?;
        let [release] = &releases[..] else {
            return Err(ModuleError::NoRelease(folder));
        };
        let list_file = folder.join(release).join("modules.builtin");
        let text = fs::read_to_string(&list_file).map_err(at(&list_file))?;
        let mut files = BTreeMap::new();
        find(&folder, release, &mut files)?;
        Ok(Self {
            release: release.clone(),
            files,
            builtin: text.lines().map(resolve::name_of).collect(),
            folder,
        })
    }

    /// The kernel image of the package.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn vmlinuz(&self) -> Result<Vec<u8>, ModuleError> {
        let name = format!("../../../boot/vmlinuz-{}", self.release);
        let path = self.folder.join(name);
        fs::read(&path).map_err(at(&path))
    }

    /// The wanted modules and all that they depend on, in the order in which they load.
    ///
    /// # Errors
    /// When one is not there, or is no module.
    pub fn modules(&self, wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut loaded = BTreeMap::new();
        let order = resolve::order(
            wanted,
            &mut Reader {
                kernel: self,
                loaded: &mut loaded,
            },
        )?;
        let take = |name: &String| {
            let bytes = loaded.remove(name)?;
            let path = self.files.get(name)?.trim_end_matches(".xz").to_owned();
            Some(Module { path, bytes })
        };
        Ok(order.iter().filter_map(take).collect())
    }
}

struct Reader<'a> {
    kernel: &'a Kernel,
    loaded: &'a mut BTreeMap<String, Vec<u8>>,
}

impl Catalogue for Reader<'_> {
    fn is_builtin(&self, name: &str) -> bool {
        self.kernel.builtin.contains(name)
    }

    fn depends(&mut self, name: &str) -> Result<Option<Vec<String>>, ModuleError> {
        let Some(file) = self.kernel.files.get(name) else {
            return Ok(None);
        };
        let bytes = unpack(&self.kernel.folder.join(file), file)?;
        let malformed = |reason: String| ModuleError::Malformed {
            path: file.clone(),
            reason,
        };
        let depends = modinfo::depends(&bytes).map_err(malformed)?;
        self.loaded.insert(name.to_owned(), bytes);
        Ok(Some(depends))
    }
}

fn unpack(path: &Path, name: &str) -> Result<Vec<u8>, ModuleError> {
    let packed = fs::read(path).map_err(at(path))?;
    if !name.ends_with(".xz") {
        return Ok(packed);
    }
    let mut bytes = Vec::new();
    let mut reader = lzma_rust2::XzReader::new(&packed[..], false);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| ModuleError::Malformed {
            path: name.to_owned(),
            reason: format!("not xz: {error}"),
        })?;
    Ok(bytes)
}

/// Collects modules below `folder/at`, name → path relative to `folder`.
fn find(
    folder: &Path,
    here: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<(), ModuleError> {
    for name in list(&folder.join(here))? {
        let path = format!("{here}/{name}");
        if name.ends_with(".ko") || name.ends_with(".ko.xz") {
            files.insert(resolve::name_of(&path), path);
        } else if folder.join(&path).is_dir() {
            find(folder, &path, files)?;
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<String>, ModuleError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ModuleError + '_ {
    move |source| ModuleError::Io {
        path: path.to_owned(),
        source,
    }
}
