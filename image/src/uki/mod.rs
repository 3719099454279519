//! The unified kernel image: systemd's stub with kernel, initramfs and command line as PE sections
//! (UAPI group's UKI specification).
//!
//! Never signs, and never changes a byte of what the stub already holds but its headers.

pub mod pe;

use crate::osrelease::{self, Version};

/// Sections of a UKI, in the order in which they lie in the file. What changes least comes first,
/// so that an update that is cut at these borders shares the longest run.
const ORDER: [&str; 5] = [".uname", ".linux", ".osrel", ".cmdline", ".initrd"];

/// Why a UKI cannot be made or read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UkiError {
    /// Not the file format.
    #[error("{0}")]
    Pe(#[from] pe::PeError),
    /// A PE file of another kind.
    #[error("no systemd stub: expected a section .sdmagic with `systemd-stub`")]
    NoStub,
    /// The kernel is none that a stub can start.
    #[error("the kernel is no EFI program: it does not begin with `MZ`")]
    NoKernel,
    /// A part is missing.
    #[error("no unified kernel image: section {0} is missing")]
    NoSection(&'static str),
    /// `.osrel` without what the loader sorts by.
    #[error("section .osrel: expected {0}, as in os-release(5)")]
    OsRelease(&'static str),
}

/// The parts of a UKI.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// os-release text.
    pub os_release: &'a str,
    /// The kernel command line.
    pub cmdline: &'a str,
    /// The kernel's release.
    pub kernel_release: &'a str,
    /// The kernel.
    pub linux: &'a [u8],
    /// The initramfs.
    pub initrd: &'a [u8],
}

/// Puts the parts behind a stub.
///
/// # Errors
/// When the stub is none, or its header has no room.
pub fn build(stub: &[u8], parts: &Parts) -> Result<Vec<u8>, UkiError> {
    let sections = pe::sections(stub)?;
    let magic = sections.iter().find(|section| section.name == ".sdmagic");
    if !magic.is_some_and(|section| holds(section.data, b"systemd-stub")) {
        return Err(UkiError::NoStub);
    }
    if !parts.linux.starts_with(b"MZ") {
        return Err(UkiError::NoKernel);
    }
    let content = |name| match name {
        ".uname" => parts.kernel_release.as_bytes(),
        ".linux" => parts.linux,
        ".osrel" => parts.os_release.as_bytes(),
        ".cmdline" => parts.cmdline.as_bytes(),
        _ => parts.initrd,
    };
    let added: Vec<_> = ORDER.iter().map(|name| (*name, content(name))).collect();
    Ok(pe::append(stub, &added)?)
}

/// A UKI as it was found.
#[derive(Debug)]
pub struct Uki<'a> {
    /// All sections of the file.
    pub sections: Vec<pe::Section<'a>>,
    /// `IMAGE_ID`.
    pub id: String,
    /// `IMAGE_VERSION`.
    pub version: Version,
    /// `SKEG_SOURCE_DATE`, where it is ours.
    pub source_date: Option<u64>,
}

impl<'a> Uki<'a> {
    /// Reads a UKI.
    ///
    /// # Errors
    /// When it is none, or does not say which image it is.
    pub fn read(bytes: &'a [u8]) -> Result<Self, UkiError> {
        let sections = pe::sections(bytes)?;
        for name in [".linux", ".initrd"] {
            find(&sections, name)?;
        }
        let text = String::from_utf8_lossy(find(&sections, ".osrel")?).into_owned();
        let value = |key| osrelease::value(&text, key).ok_or(UkiError::OsRelease(key));
        let version = Version::new(value("IMAGE_VERSION")?);
        Ok(Self {
            id: value("IMAGE_ID")?.to_owned(),
            version: version.map_err(|_| UkiError::OsRelease("IMAGE_VERSION"))?,
            source_date: value("SKEG_SOURCE_DATE")
                .ok()
                .and_then(|date| date.parse().ok()),
            sections,
        })
    }

    /// The initramfs.
    #[must_use]
    pub fn initrd(&self) -> &'a [u8] {
        find(&self.sections, ".initrd").unwrap_or_default()
    }

    /// A section's content; nothing where there is none.
    #[must_use]
    pub fn section(&self, name: &'static str) -> &'a [u8] {
        find(&self.sections, name).unwrap_or_default()
    }

    /// The name by which the loader finds it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}.efi", self.id, self.version)
    }
}

fn find<'a>(sections: &[pe::Section<'a>], name: &'static str) -> Result<&'a [u8], UkiError> {
    let found = sections.iter().find(|section| section.name == name);
    found
        .map(|section| section.data)
        .ok_or(UkiError::NoSection(name))
}

fn holds(data: &[u8], text: &[u8]) -> bool {
    data.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts = Parts {
        os_release: "IMAGE_ID=skeg\nIMAGE_VERSION=1.2\nSKEG_SOURCE_DATE=7\n",
        cmdline: "panic=10",
        kernel_release: "6.12.1",
        linux: b"MZ kernel",
        initrd: b"070701",
    };

    #[test]
    fn a_uki_says_who_it_is_and_gives_its_initramfs_back() {
        let bytes = build(&pe::tests::stub(5), &PARTS).unwrap();
        let uki = Uki::read(&bytes).unwrap();
        assert_eq!(uki.file_name(), "skeg_1.2.efi");
        assert_eq!((uki.initrd(), uki.source_date), (&b"070701"[..], Some(7)));
    }

    #[test]
    fn what_cannot_boot_is_not_built() {
        let other = Parts {
            linux: b"ELF",
            ..PARTS
        };
        assert_eq!(build(&pe::tests::stub(5), &other), Err(UkiError::NoKernel));
        let program = build(&pe::tests::stub(5), &PARTS).unwrap();
        assert!(matches!(build(&program, &PARTS), Err(UkiError::Pe(_))));
        assert!(Uki::read(&pe::tests::stub(5)).is_err());
    }
}
