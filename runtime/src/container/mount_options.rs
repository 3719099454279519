//! The options of mount(8), understood: attributes and propagation of the mount, data of the file system.
//!
//! Pure: nothing is mounted here.

use std::fmt;

use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

/// How mount events spread (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the host to here.
    Slave,
    /// Both ways.
    Shared,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    /// The `MS_*` flag.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Unbindable => 1 << 17,
            Self::Private => 1 << 18,
            Self::Slave => 1 << 19,
            Self::Shared => 1 << 20,
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unbindable => "unbindable",
        })
    }
}

/// `MOUNT_ATTR_*` bits to set and clear, on the mount and on all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// Set on the mount.
    pub set: u32,
    /// Cleared on the mount.
    pub clear: u32,
    /// Set on it and on everything mounted below it.
    pub set_recursive: u32,
    /// Cleared on it and on everything mounted below it.
    pub clear_recursive: u32,
    /// Propagation of the mount.
    pub propagation: Option<Propagation>,
    /// Whether everything mounted below gets that propagation too.
    pub propagation_recursive: bool,
}

const RDONLY: u32 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits();
const NOSUID: u32 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits();
const NODEV: u32 = MountAttrFlags::MOUNT_ATTR_NODEV.bits();
const NOEXEC: u32 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits();
const ATIME: u32 = MountAttrFlags::MOUNT_ATTR__ATIME.bits();
const NOATIME: u32 = MountAttrFlags::MOUNT_ATTR_NOATIME.bits();
const STRICTATIME: u32 = MountAttrFlags::MOUNT_ATTR_STRICTATIME.bits();
const NODIRATIME: u32 = MountAttrFlags::MOUNT_ATTR_NODIRATIME.bits();
const NOSYMFOLLOW: u32 = MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW.bits();

/// Options of mount(8): what each sets and clears.
const OPTIONS: [(&str, u32, u32); 18] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, ATIME),
    ("relatime", 0, ATIME),
    ("norelatime", 0, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", 0, ATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

const PROPAGATIONS: [(&str, Propagation, bool); 8] = [
    ("private", Propagation::Private, false),
    ("rprivate", Propagation::Private, true),
    ("slave", Propagation::Slave, false),
    ("rslave", Propagation::Slave, true),
    ("shared", Propagation::Shared, false),
    ("rshared", Propagation::Shared, true),
    ("unbindable", Propagation::Unbindable, false),
    ("runbindable", Propagation::Unbindable, true),
];

/// Every option that is understood here, for those who ask.
#[must_use]
pub fn known() -> Vec<String> {
    let mut names: Vec<String> = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"]
        .iter()
        .chain(&[
            "defaults",
            "async",
            "sync",
            "dirsync",
            "mand",
            "nomand",
            "copy-symlink",
        ])
        .map(|name| (*name).to_owned())
        .collect();
    for (name, ..) in OPTIONS {
        names.extend([name.to_owned(), format!("r{name}")]);
    }
    names.extend(PROPAGATIONS.iter().map(|(name, ..)| (*name).to_owned()));
    names
}

/// A mount's options, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// Nothing new is mounted: flags of what is there change.
    pub remount: bool,
    /// A tmpfs starts with what its target holds (`tmpcopyup`).
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub ids: Option<bool>,
    /// What they set and clear.
    pub attributes: Attributes,
    /// What is left, for the file system itself.
    pub data: Vec<String>,
}

impl Options {
    /// Understands the options of one mount; later ones win.
    #[must_use]
    pub fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.take(option);
        }
        parsed
    }

    fn take(&mut self, option: &str) {
        let attributes = &mut self.attributes;
        if let Some((_, set, clear)) = OPTIONS.iter().find(|(name, ..)| *name == option) {
            attributes.set = attributes.set & !clear | set;
            attributes.clear = attributes.clear & !set | clear;
            return;
        }
        // The runtime spec's recursive forms: "rro", "rnosuid", …
        let recursive = option.strip_prefix('r');
        let recursive = recursive.and_then(|bare| OPTIONS.iter().find(|(name, ..)| *name == bare));
        if let Some((_, set, clear)) = recursive {
            attributes.set_recursive = attributes.set_recursive & !clear | set;
            attributes.clear_recursive = attributes.clear_recursive & !set | clear;
            return;
        }
        if let Some((_, kind, recursive)) = PROPAGATIONS.iter().find(|(name, ..)| *name == option) {
            attributes.propagation = Some(*kind);
            attributes.propagation_recursive = *recursive;
            return;
        }
        match option {
            "bind" => self.bind = Some(false),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.ids = Some(false),
            "ridmap" => self.ids = Some(true),
            // The kernel's newer calls have no word for it, and it is the file system's own affair.
            "iversion" => {}
            "defaults" | "async" | "silent" | "loud" | "nolazytime" | "nomand" | "noiversion"
            | "copy-symlink" | "" => {}
            other => self.data.push(other.into()),
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (name, set, _) in OPTIONS.iter().filter(|(_, set, _)| *set != 0) {
            if self.set & set == *set {
                words.push((*name).to_owned());
            }
            if self.set_recursive & set == *set {
                words.push(format!("r{name}"));
            }
        }
        if let Some(propagation) = self.propagation {
            let r = if self.propagation_recursive { "r" } else { "" };
            words.push(format!("{r}{propagation}"));
        }
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &str) -> Options {
        let options: Vec<String> = options.split(',').map(str::to_owned).collect();
        Options::parse(&options)
    }

    #[test]
    fn options_become_attributes_propagation_and_data() {
        let parsed = parse("nosuid,strictatime,mode=755,rslave,size=65536k");
        assert_eq!(parsed.attributes.to_string(), "nosuid,strictatime,rslave");
        assert_eq!(parsed.data, ["mode=755", "size=65536k"]);
        assert_eq!(parsed.bind, None);
    }

    #[test]
    fn the_last_of_two_opposite_options_wins() {
        let attributes = parse("ro,rw").attributes;
        assert_eq!((attributes.set, attributes.clear), (0, RDONLY));
        let attributes = parse("rw,ro").attributes;
        assert_eq!((attributes.set, attributes.clear), (RDONLY, 0));
    }

    #[test]
    fn recursive_read_only_is_not_plain_read_only() {
        let parsed = parse("rbind,rro");
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.attributes.to_string(), "rro");
        assert_eq!(parsed.attributes.set, 0);
    }

    #[test]
    fn relatime_is_not_mistaken_for_a_recursive_option() {
        assert_eq!(parse("relatime").attributes.set_recursive, 0);
        assert_eq!(parse("relatime").attributes.clear, ATIME);
    }
}
