//! Capabilities: their names and bits, Docker's default set, and giving them up.
//!
//! A capability that this kernel does not know is never asked for: it is dropped from the sets.

use std::collections::HashSet;
use std::fmt;

use oci_spec::runtime::{Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::failure::{Doing, Failure};

/// All capabilities without `CAP_`, at the index that is their bit (capabilities(7)).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The 14 that Docker grants.
pub const DOCKER: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// A set of capabilities, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Set(pub u64);

impl Set {
    /// Every capability known here.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set of one name, with or without `CAP_`, in any case; `ALL` is every one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            return Some(Self::ALL);
        }
        let bit = NAMES.iter().position(|name| *name == bare)?;
        Some(Self(1 << bit))
    }

    /// Whether it holds the capability of this name.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        Self::named(name).is_some_and(|one| self.0 & one.0 == one.0)
    }

    /// As the spec's type.
    #[must_use]
    pub fn to_spec(self) -> HashSet<Capability> {
        let names = NAMES.iter().enumerate();
        names
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .filter_map(|(_, name)| {
                serde_json::from_value(serde_json::Value::from(format!("CAP_{name}"))).ok()
            })
            .collect()
    }

    fn from_spec(capabilities: Option<&HashSet<Capability>>) -> Self {
        let mut bits = 0;
        for capability in capabilities.into_iter().flatten() {
            let name = serde_json::to_value(capability).unwrap_or_default();
            bits |= name.as_str().and_then(Self::named).unwrap_or_default().0;
        }
        Self(bits)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sets {
    /// What can ever be gained.
    pub bounding: Set,
    /// What counts.
    pub effective: Set,
    /// What can be made effective.
    pub permitted: Set,
    /// What an exec of a file with inheritable capabilities keeps.
    pub inheritable: Set,
    /// What any exec keeps.
    pub ambient: Set,
}

impl Sets {
    /// From the spec; a missing set is empty.
    #[must_use]
    pub fn from_spec(spec: Option<&LinuxCapabilities>) -> Self {
        let Some(spec) = spec else {
            return Self::default();
        };
        Self {
            bounding: Set::from_spec(spec.bounding().as_ref()),
            effective: Set::from_spec(spec.effective().as_ref()),
            permitted: Set::from_spec(spec.permitted().as_ref()),
            inheritable: Set::from_spec(spec.inheritable().as_ref()),
            ambient: Set::from_spec(spec.ambient().as_ref()),
        }
    }
}

impl fmt::Display for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bounding={} effective={} ambient={}",
            self.bounding, self.effective, self.ambient
        )
    }
}

/// Drops what is not in `bounding`; while `CAP_SETPCAP` is still there.
pub(crate) fn limit_bounding(bounding: Set) -> Result<(), Failure> {
    for (bit, name) in NAMES.iter().enumerate() {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        let keep = bounding.0 & (1 << bit) != 0;
        // What the kernel does not know, or the zygote itself lacks, is not there to be dropped.
        if keep || !rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            continue;
        }
        rustix::thread::remove_capability_from_bounding_set(capability)
            .doing("prctl capbset_drop", name)?;
    }
    Ok(())
}

/// Sets permitted, effective and inheritable, then ambient; after the change of user.
pub(crate) fn set(sets: &Sets) -> Result<(), Failure> {
    let now = rustix::thread::capabilities(None).doing("capget", "")?;
    let available = now.permitted.bits();
    let within = |set: Set| CapabilitySet::from_bits_retain(set.0 & available);
    let permitted = within(sets.permitted);
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            permitted,
            effective: within(sets.effective) & permitted,
            inheritable: within(sets.inheritable),
        },
    )
    .doing("capset", "")?;
    rustix::thread::clear_ambient_capability_set().doing("prctl cap_ambient_clear_all", "")?;
    for (bit, name) in NAMES.iter().enumerate() {
        let both = sets.ambient.0 & sets.inheritable.0 & permitted.bits();
        if both & (1 << bit) != 0 {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            rustix::thread::configure_capability_in_ambient_set(capability, true)
                .doing("prctl cap_ambient_raise", name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_default_set_is_the_well_known_mask() {
        let bits = DOCKER
            .iter()
            .fold(0, |bits, name| bits | Set::named(name).unwrap().0);
        assert_eq!(format!("{bits:016x}"), "00000000a80425fb");
    }

    #[test]
    fn every_name_survives_the_spec_s_type() {
        assert_eq!(Set::from_spec(Some(&Set::ALL.to_spec())), Set::ALL);
    }

    #[test]
    fn names_are_read_in_any_case_with_or_without_prefix() {
        assert_eq!(Set::named("cap_net_admin"), Set::named("NET_ADMIN"));
        assert_eq!(Set::named("CAP_FLY"), None);
        assert_eq!(Set::named("all"), Some(Set::ALL));
    }
}
