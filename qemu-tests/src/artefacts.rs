//! One test's folder: consoles, logs and disks of its machines. Kept unless the test says that it
//! passed, so that a panic, an error and a kill all leave it.
//!
//! It judges nothing: only the test knows whether it passed.

use crate::image::{Image, target};
use crate::machine::{Machine, Start};
use anyhow::{Context, Result};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// A running test.
pub struct Test {
    folder: PathBuf,
    machines: Cell<u32>,
    disks: Cell<u32>,
    passed: Cell<bool>,
}

impl Test {
    /// Starts a test with an empty folder, `target/qemu-artifacts/NAME`.
    ///
    /// # Errors
    /// The folder cannot be emptied or made.
    pub fn named(name: &str) -> Result<Self> {
        let folder = target().join("qemu-artifacts").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self {
            folder,
            machines: Cell::new(0),
            disks: Cell::new(0),
            passed: Cell::new(false),
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A machine whose kernel and initramfs QEMU loads itself: the fastest boot.
    #[must_use]
    pub fn boot(&self, image: &Image) -> Machine<'_> {
        Machine::new(self, image, Start::Direct)
    }

    /// A machine that boots as a real one does: firmware, loader, UKI from the first disk.
    #[must_use]
    pub fn boot_firmware(&self, image: &Image) -> Machine<'_> {
        Machine::new(self, image, Start::Firmware)
    }

    /// A machine whose firmware is handed the UKI by `-kernel`.
    #[must_use]
    pub fn boot_uki(&self, image: &Image) -> Machine<'_> {
        Machine::new(self, image, Start::Uki)
    }

    /// Says that the test passed: the folder goes when the test does.
    pub fn passed(&self) {
        self.passed.set(true);
    }

    pub(crate) fn next_machine(&self) -> u32 {
        next(&self.machines)
    }

    pub(crate) fn next_disk(&self) -> PathBuf {
        self.folder.join(format!("disk-{}.raw", next(&self.disks)))
    }
}

fn next(counter: &Cell<u32>) -> u32 {
    counter.set(counter.get() + 1);
    counter.get()
}

impl Drop for Test {
    fn drop(&mut self) {
        if self.passed.get() && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        } else {
            eprintln!("artefacts kept in {}", self.folder.display());
        }
    }
}
