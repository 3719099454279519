//! The recipe, `image/recipe.toml`: what an image is made of, without versions (see the lock).
//!
//! Refuses keys that it does not know, and profiles that point nowhere or at each other.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// Not TOML, or not with the keys that a recipe has.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A profile that is not there.
    #[error("profile {wanted:?}: expected one of {known}")]
    NoProfile {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// `like` may name a complete profile only.
    #[error("profile {0:?} is like a profile that is itself like another: name the complete one")]
    Chain(String),
}

/// The whole recipe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Who the image is.
    pub image: Identity,
    /// How disks are laid out.
    pub disk: Disk,
    profile: BTreeMap<String, Profile>,
}

/// Names that stay the same over all versions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `ID` and `IMAGE_ID` of os-release; part of file names.
    pub id: String,
    /// For people.
    pub name: String,
    /// Source date of last resort, seconds since 1970.
    pub epoch: u64,
}

/// How disks are laid out.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Size of the ESP.
    pub esp_mib: u64,
    /// Size of STATE's journal.
    pub journal_mib: u64,
}

/// One kind of image: complete, or `like` another with a segment on top.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    like: Option<String>,
    /// Words of the kernel command line.
    pub cmdline: Vec<String>,
    /// Folders to make.
    pub directories: Vec<Directory>,
    /// Kernel modules to pack and load, dependencies added.
    pub modules: Vec<String>,
    /// Kernel modules to pack, and to load only where the machine has nothing better.
    pub spare_modules: Vec<String>,
    /// Whether modules keep Debian's signatures.
    pub module_signatures: Signatures,
    /// Symbolic links to make.
    pub links: Vec<Link>,
    /// Files to pack.
    pub files: Vec<File>,
    /// What is added by a second initramfs segment.
    pub segment: Option<Segment>,
}

/// What becomes of the signatures of kernel modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signatures {
    /// They stay: a kernel that is locked down loads no module without.
    #[default]
    Keep,
    /// They are cut off, so that the kernel does not check them, and with them what modules have for BPF alone.
    Drop,
}

/// A second initramfs segment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Segment {
    /// More kernel modules.
    pub modules: Vec<String>,
    /// Services that are packed here and never in the first segment.
    pub services: Vec<String>,
    /// More files.
    pub files: Vec<File>,
}

/// A folder to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// A symbolic link to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Absolute path of the link.
    pub path: String,
    /// Its target, as it is written into the link.
    pub to: String,
}

/// A file to pack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path in the image.
    pub path: String,
    /// A binary's name, or `package:path`.
    pub from: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether it is compressed: a program that runs rarely, for `skeg` to unpack.
    #[serde(default)]
    pub packed: bool,
}

/// A profile with `like` resolved: the first segment's recipe and the second's.
#[derive(Debug)]
pub struct Resolved<'a> {
    /// The profile that was asked for.
    pub name: &'a str,
    /// The complete profile, and its name.
    pub base: (&'a str, &'a Profile),
    /// The segment on top.
    pub segment: Option<&'a Segment>,
    /// Services that no first segment holds.
    pub segment_services: Vec<&'a str>,
}

impl Recipe {
    /// Reads a recipe's text.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        Ok(toml::from_str(text)?)
    }

    /// Finds a profile.
    ///
    /// # Errors
    /// When there is none of that name, or its `like` cannot be followed.
    pub fn resolve(&self, name: &str) -> Result<Resolved<'_>, RecipeError> {
        let (name, profile) = self.profile(name)?;
        let base = match &profile.like {
            None => (name, profile),
            Some(like) => self.profile(like)?,
        };
        if base.1.like.is_some() {
            return Err(RecipeError::Chain(name.to_owned()));
        }
        let segments = self.profile.values().filter_map(|p| p.segment.as_ref());
        Ok(Resolved {
            name,
            base,
            segment: profile.segment.as_ref(),
            segment_services: segments
                .flat_map(|s| &s.services)
                .map(String::as_str)
                .collect(),
        })
    }

    fn profile(&self, wanted: &str) -> Result<(&str, &Profile), RecipeError> {
        let found = self.profile.get_key_value(wanted);
        let (name, profile) = found.ok_or_else(|| RecipeError::NoProfile {
            wanted: wanted.to_owned(),
            known: self.profile.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok((name, profile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = include_str!("../recipe.toml");

    #[test]
    fn the_test_profile_is_the_vm_profile_plus_a_segment() {
        let recipe = Recipe::parse(OURS).unwrap();
        let (vm, test) = (
            recipe.resolve("vm").unwrap(),
            recipe.resolve("test").unwrap(),
        );
        assert!(std::ptr::eq(vm.base.1, test.base.1));
        let listed = |name: &String| vm.base.1.modules.contains(name);
        assert!(!vm.base.1.spare_modules.iter().any(listed), "loaded always");
        assert!(vm.segment.is_none());
        assert!(test.segment.is_some());
        assert_eq!(vm.segment_services[0], "agent");
        assert_eq!(vm.segment_services, test.segment_services);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let text = OURS.replace("esp_mib", "esp_mb");
        let error = Recipe::parse(&text).unwrap_err().to_string();
        assert!(
            error.contains("esp_mb") && error.contains("esp_mib"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_profile_is_answered_with_the_known_ones() {
        let recipe = Recipe::parse(OURS).unwrap();
        let error = recipe.resolve("vmm").unwrap_err();
        assert_eq!(
            error.to_string(),
            "profile \"vmm\": expected one of test, vm"
        );
    }
}
