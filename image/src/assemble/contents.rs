//! What lies in each segment: the recipe's folders, files and links, and what they stand for.
//!
//! Modes and order never come from the host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use formats::paths;

use super::{AssembleError, Inputs};
use crate::accounts::{self, Accounts};
use crate::debian::cache::Package;
use crate::modules::{Kernel, Module, signature, types};
use crate::osrelease::OsRelease;
use crate::recipe::{File, Recipe, Resolved, Signatures};
use crate::seccomp;
use crate::tree::{Content, Tree, TreeError};

/// Of zstd, for packed programs: unpacking takes the same time at any level.
const LEVEL: i32 = 19;

/// A build under way.
pub(super) struct Work<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) kernel: Kernel,
    pub(super) packages: BTreeMap<String, Package>,
    pub(super) profile: &'a Resolved<'a>,
}

impl Work<'_> {
    pub(super) fn base(&mut self) -> Result<Tree, AssembleError> {
        let (name, profile) = self.profile.base;
        let mut tree = Tree::default();
        for directory in &profile.directories {
            tree.put(&directory.path, directory.mode, Content::Directory)?;
        }
        // PID 1's first words need a console before devtmpfs is mounted.
        tree.put(
            "/dev/console",
            0o600,
            Content::Device { major: 5, minor: 1 },
        )?;
        self.files(&mut tree, &profile.files)?;
        self.etc(&mut tree)?;
        for link in &profile.links {
            tree.put(&link.path, 0o777, Content::Link(link.to.clone()))?;
        }
        self.services(&mut tree, |name| {
            !self.profile.segment_services.contains(&name)
        })?;
        let wanted: Vec<_> = profile.modules.iter().map(String::as_str).collect();
        let modules = self.kernel.modules(&wanted)?;
        put_module_list(&mut tree, paths::MODULE_LIST, &modules)?;
        let spare = profile.spare_modules.iter().map(String::as_str);
        let mut spare = self
            .kernel
            .modules(&wanted.iter().copied().chain(spare).collect::<Vec<_>>())?;
        spare.retain(|module| !modules.contains(module));
        put_module_list(&mut tree, paths::SPARE_MODULE_LIST, &spare)?;
        for module in modules.iter().chain(&spare) {
            self.put_module(&mut tree, module)?;
        }
        tree.file(
            paths::OS_RELEASE,
            0o644,
            self.os_release(name).to_string().into_bytes(),
        )?;
        Ok(tree)
    }

    /// The second segment; its module list replaces the first one's.
    pub(super) fn segment(&mut self) -> Result<Option<Tree>, AssembleError> {
        let Some(segment) = self.profile.segment else {
            return Ok(None);
        };
        let mut tree = Tree::default();
        self.files(&mut tree, &segment.files)?;
        self.services(&mut tree, |name| segment.services.iter().any(|s| s == name))?;
        let text = self.os_release(self.profile.name).to_string();
        tree.file(paths::OS_RELEASE, 0o644, text.into_bytes())?;
        if !segment.modules.is_empty() {
            let base: Vec<_> = self
                .profile
                .base
                .1
                .modules
                .iter()
                .map(String::as_str)
                .collect();
            let known = self.kernel.modules(&base)?;
            let more = segment.modules.iter().map(String::as_str);
            let all = self
                .kernel
                .modules(&base.into_iter().chain(more).collect::<Vec<_>>())?;
            put_module_list(&mut tree, paths::MODULE_LIST, &all)?;
            for module in all.iter().filter(|module| !known.contains(module)) {
                self.put_module(&mut tree, module)?;
            }
        }
        Ok(Some(tree))
    }

    fn files(&mut self, tree: &mut Tree, files: &[File]) -> Result<(), AssembleError> {
        for file in files {
            let source = match file.from.split_once(':') {
                Some((role, path)) => self
                    .package(role)?
                    .folder
                    .join(path.trim_start_matches('/')),
                None => self
                    .inputs
                    .binary(&file.from, self.profile.name)?
                    .to_owned(),
            };
            let bytes = read(&source)?;
            let bytes = match file.packed {
                true => zstd::bulk::compress(&bytes, LEVEL).map_err(at(&source))?,
                false => bytes,
            };
            tree.file(&file.path, file.mode, bytes)?;
        }
        Ok(())
    }

    pub(super) fn package(&mut self, role: &str) -> Result<Package, AssembleError> {
        if let Some(package) = self.packages.get(role) {
            return Ok(package.clone());
        }
        let package = self.inputs.cache.package(role)?;
        self.packages.insert(role.to_owned(), package.clone());
        Ok(package)
    }

    /// The image's part of /etc: the files beside the recipe, and Debian's root certificates.
    fn etc(&mut self, tree: &mut Tree) -> Result<(), AssembleError> {
        put_folder(tree, &self.inputs.folder.join("etc"), paths::IMAGE_ETC)?;
        let accounts = self.accounts()?;
        for (own, name, text) in [
            (paths::ACCOUNTS, "passwd", accounts.passwd),
            (paths::GROUPS, "group", accounts.group),
        ] {
            let in_etc = format!("{}/{name}", paths::IMAGE_ETC);
            tree.file(&in_etc, 0o644, text.clone().into_bytes())?;
            tree.file(own, 0o644, text.into_bytes())?;
        }
        let package = self.package("certificates")?.folder;
        let folder = package.join("usr/share/ca-certificates/mozilla");
        let mut bundle = Vec::new();
        for name in names(&folder)?.iter().filter(|name| name.ends_with(".crt")) {
            bundle.extend(read(&folder.join(name))?);
            if bundle.last() != Some(&b'\n') {
                bundle.push(b'\n');
            }
        }
        let path = format!("{}/ssl/certs/ca-certificates.crt", paths::IMAGE_ETC);
        Ok(tree.file(&path, 0o644, bundle)?)
    }

    fn services(
        &self,
        tree: &mut Tree,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), AssembleError> {
        let folder = self.inputs.folder.join("services");
        for file in names(&folder)? {
            if file.strip_suffix(".service").is_some_and(&wanted) {
                self.service(tree, &file, read(&folder.join(&file))?)?;
            }
        }
        Ok(())
    }

    /// A service file and its filter; what PID 1 would refuse at the boot is refused here.
    fn service(&self, tree: &mut Tree, file: &str, bytes: Vec<u8>) -> Result<(), AssembleError> {
        let service = formats::service::parse(file, &String::from_utf8_lossy(&bytes))?;
        let accounts = self.accounts()?;
        let user = service.user.as_deref();
        let group = service.group.as_deref();
        let no_user = user.filter(|name| formats::accounts::user(&accounts.passwd, name).is_none());
        let no_group =
            group.filter(|name| formats::accounts::group(&accounts.group, name).is_none());
        if let Some(account) = no_user.or(no_group) {
            return Err(AssembleError::NoAccount {
                service: file.to_owned(),
                account: account.to_owned(),
            });
        }
        if let Some(filter) = seccomp::compile(&service)? {
            let path = format!("{}/{}.bpf", paths::FILTERS, service.name);
            tree.file(&path, 0o644, filter)?;
        }
        Ok(tree.file(&format!("{}/{file}", paths::SERVICES), 0o644, bytes)?)
    }

    fn accounts(&self) -> Result<Accounts, AssembleError> {
        let text = read(&self.inputs.folder.join("accounts"))?;
        Ok(accounts::parse(&String::from_utf8_lossy(&text))?)
    }

    fn put_module(&self, tree: &mut Tree, module: &Module) -> Result<(), TreeError> {
        let bytes = match self.profile.base.1.module_signatures {
            Signatures::Keep => module.bytes.clone(),
            Signatures::Drop => types::strip(signature::strip(&module.bytes)),
        };
        tree.file(&format!("/usr/lib/modules/{}", module.path), 0o644, bytes)
    }

    pub(super) fn os_release(&self, variant: &str) -> OsRelease {
        OsRelease {
            id: self.recipe.image.id.clone(),
            name: self.recipe.image.name.clone(),
            version: self.inputs.version.clone(),
            variant: variant.to_owned(),
            source_date: self.inputs.source_date,
        }
    }
}

fn put_module_list(tree: &mut Tree, path: &str, modules: &[Module]) -> Result<(), TreeError> {
    let text: String = modules
        .iter()
        .map(|module| format!("{}\n", module.path))
        .collect();
    tree.file(path, 0o644, text.into_bytes())
}

/// Packs a folder of the recipe; modes are fixed, whatever the checkout's umask was.
fn put_folder(tree: &mut Tree, from: &Path, to: &str) -> Result<(), AssembleError> {
    tree.put(to, 0o755, Content::Directory)?;
    for name in names(from)? {
        let (source, target) = (from.join(&name), format!("{to}/{name}"));
        if source.is_dir() {
            put_folder(tree, &source, &target)?;
        } else {
            tree.file(&target, 0o644, read(&source)?)?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, AssembleError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, AssembleError> {
    fs::read(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AssembleError + '_ {
    move |source| AssembleError::Io {
        path: path.to_owned(),
        source,
    }
}
