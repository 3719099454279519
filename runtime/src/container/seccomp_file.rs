//! A seccomp profile as a user writes it for docker or podman: with conditions on capabilities,
//! architecture and kernel, which a spec does not have.
//!
//! It decides from the container's capabilities alone; a plain profile of a spec is one without
//! conditions.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

use super::capabilities::Set;

/// The kernel that is at least there: older ones lack what starts a container.
const KERNEL: (u32, u32) = (5, 14);

/// The architecture's name in these files.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "amd64";
/// The architecture's name in these files.
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: &str = "arm64";

/// The native architecture as seccomp names it.
#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::ScmpArchX86_64;
/// The native architecture as seccomp names it.
#[cfg(not(target_arch = "x86_64"))]
const NATIVE: Arch = Arch::ScmpArchAarch64;

/// A profile with its conditions. Fields that are not known are refused: they could be conditions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    /// podman writes the number beside its name.
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<LinuxSeccompFilterFlag>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Profile {
    /// The profile for a container with these capabilities in its bounding set.
    #[must_use]
    pub fn for_capabilities(&self, capabilities: Set) -> LinuxSeccomp {
        let rules = self.syscalls.iter();
        let rules = rules.filter(|rule| rule.applies(capabilities));
        let mut architectures = self.architectures.clone();
        for map in self
            .arch_map
            .iter()
            .filter(|map| map.architecture == NATIVE)
        {
            architectures.push(map.architecture);
            architectures.extend(map.sub_architectures.iter().flatten());
        }
        let mut profile = LinuxSeccomp::default();
        profile
            .set_default_action(self.default_action)
            .set_default_errno_ret(self.default_errno_ret)
            .set_architectures(Some(architectures))
            .set_flags(Some(self.flags.clone()))
            .set_syscalls(Some(rules.map(Rule::to_spec).collect()));
        profile
    }
}

impl Rule {
    fn applies(&self, capabilities: Set) -> bool {
        let included = self.includes.as_ref().is_none_or(|condition| {
            let all = |caps: &Vec<String>| caps.iter().all(|name| capabilities.has(name));
            condition.caps.as_ref().is_none_or(all)
                && condition.arches.as_deref().is_none_or(has_architecture)
                && condition.min_kernel.as_deref().is_none_or(is_reached)
        });
        let excluded = self.excludes.as_ref().is_some_and(|condition| {
            let any = |caps: &Vec<String>| caps.iter().any(|name| capabilities.has(name));
            condition.caps.as_ref().is_some_and(any)
                || condition.arches.as_deref().is_some_and(has_architecture)
                || condition.min_kernel.as_deref().is_some_and(is_reached)
        });
        included && !excluded
    }

    fn to_spec(&self) -> LinuxSyscall {
        let names = self.names.iter().chain(&self.name).cloned();
        let args = self.args.clone().filter(|args| !args.is_empty());
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.collect())
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(args);
        rule
    }
}

/// An empty list is no condition.
fn has_architecture(arches: &[String]) -> bool {
    arches.is_empty() || arches.iter().any(|arch| arch == ARCHITECTURE)
}

fn is_reached(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return false;
    };
    (major, minor) <= KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                    {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
             "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["s390_mmio"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}}
        ]}"#;

    fn names(capabilities: Set) -> Vec<String> {
        let profile: Profile = serde_json::from_str(FILE).unwrap();
        let profile = profile.for_capabilities(capabilities);
        let rules = profile.syscalls().clone().unwrap();
        rules
            .iter()
            .flat_map(LinuxSyscall::names)
            .cloned()
            .collect()
    }

    #[test]
    fn a_rule_for_a_capability_counts_only_with_it() {
        assert_eq!(names(Set::default()), ["read", "clone", "ptrace"]);
        let admin = Set::named("SYS_ADMIN").unwrap();
        assert_eq!(names(admin), ["read", "mount", "ptrace"]);
    }

    #[test]
    fn an_unknown_condition_is_refused() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls":
            [{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "onlyIf": "blessed"}]}"#;
        let error = serde_json::from_str::<Profile>(text).unwrap_err();
        assert!(error.to_string().contains("onlyIf"), "{error}");
    }

    #[test]
    fn a_file_s_profile_compiles() {
        let profile: Profile = serde_json::from_str(FILE).unwrap();
        let profile = profile.for_capabilities(Set::default());
        assert!(
            crate::container::seccomp::compile(&profile)
                .unwrap()
                .is_some()
        );
    }
}
