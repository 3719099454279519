//! Where the built artefacts lie: images of both profiles, the firmware, the tools that make disks.
//!
//! It builds nothing: `cargo xtask` does, and says so when something is missing.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// One built image of one profile.
#[derive(Debug, Clone)]
pub struct Image {
    /// `vm` or `test`.
    pub profile: String,
    /// Its folder, e.g. `target/image/vm`.
    pub folder: PathBuf,
}

impl Image {
    /// The image of a profile, as `cargo xtask image` built it.
    ///
    /// # Errors
    /// It was not built.
    pub fn built(profile: &str) -> Result<Self> {
        let image = Self {
            profile: profile.to_owned(),
            folder: target().join("image").join(profile),
        };
        image.uki()?;
        Ok(image)
    }

    /// The one file of the release, `skeg_VERSION.efi`.
    ///
    /// # Errors
    /// It was not built.
    pub fn uki(&self) -> Result<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_uki(path))
            .collect();
        found.sort();
        match found.pop() {
            Some(uki) => Ok(uki),
            None => bail!(
                "no skeg_*.efi in {}: build it with `cargo xtask image`",
                self.folder.display()
            ),
        }
    }

    /// The kernel alone.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The initramfs alone.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.folder.join("initrd.cpio")
    }

    /// The kernel command line, one line.
    ///
    /// # Errors
    /// As the file system says.
    pub fn command_line(&self) -> Result<String> {
        let path = self.folder.join("cmdline");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim_end_matches(['\n', '\0']).trim().to_owned()),
            Err(error) => bail!("read {}: {error}", path.display()),
        }
    }

    /// Whether the test channel is in it.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        ["test", "crash"].contains(&self.profile.as_str())
    }
}

fn is_uki(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("skeg_") && name.ends_with(".efi")
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` of this workspace.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) if !folder.is_empty() => workspace().join(folder),
        _ => workspace().join("target"),
    }
}

/// The workspace's top folder.
#[must_use]
pub fn workspace() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_owned()
}

/// The firmware: code, and the template of its variables.
///
/// # Errors
/// None of the known places has it.
pub fn firmware() -> Result<(PathBuf, PathBuf)> {
    let places = [
        target().join("debian/ovmf/usr/share/OVMF"),
        target().join("debian/ovmf"),
        PathBuf::from("/usr/share/OVMF"),
    ];
    for place in &places {
        let pair = (place.join("OVMF_CODE_4M.fd"), place.join("OVMF_VARS_4M.fd"));
        if pair.0.is_file() && pair.1.is_file() {
            return Ok(pair);
        }
    }
    bail!("no OVMF_CODE_4M.fd: looked in {places:?}; install the package `ovmf`")
}

/// The image builder, which also makes disks.
///
/// # Errors
/// It was not built.
pub fn builder() -> Result<PathBuf> {
    let named = std::env::var_os("SKEG_IMAGE_TOOL").map(PathBuf::from);
    let path = named.unwrap_or_else(|| target().join("debug/image"));
    if !path.is_file() {
        bail!(
            "no image builder at {}: build it with `cargo build -p image`",
            path.display()
        );
    }
    Ok(path)
}
