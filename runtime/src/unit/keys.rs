//! Every section and key that podman 5's Quadlet and systemd's units know, and what becomes of each here.
//!
//! A key is done, has nothing to do here, or is refused by name: none is ignored in silence.

use crate::engine::values::{did_you_mean, nearest};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is carried out.
    Done,
    /// Accepted: there is nothing to do, e.g. `Documentation`.
    Nothing,
    /// Refused, with the reason.
    Refused(&'static str),
}

use Support::{Done, Nothing, Refused};

const LATER: Support = Refused("is not supported yet");
const NO_PODMAN: Support = Refused("is podman's own and has no meaning on this host");
const NO_SELINUX: Support = Refused("needs SELinux, which this host does not use");
const NO_USERNS: Support = Refused("needs user namespaces, which are not supported yet");

type Keys = &'static [(&'static str, Support)];

/// Looks a key up.
///
/// # Errors
/// Why it is refused, or that it is unknown, with the nearest known key.
pub fn check(section: &str, key: &str) -> Result<Support, String> {
    let keys = section_keys(section).unwrap_or(&[]);
    match keys.iter().find(|(known, _)| *known == key) {
        Some((_, Refused(reason))) => Err(format!("{key} {reason}")),
        Some((_, support)) => Ok(*support),
        None if key.starts_with("X-") => Ok(Nothing),
        None => {
            let near = nearest(key, keys.iter().map(|(known, _)| *known));
            Err(format!(
                "unknown key '{key}' in [{section}]{}",
                did_you_mean(near)
            ))
        }
    }
}

/// The keys of a section; `None` for an unknown section.
pub fn section_keys(section: &str) -> Option<Keys> {
    Some(match section {
        "Unit" => UNIT,
        "Service" => SERVICE,
        "Install" => INSTALL,
        "Container" => CONTAINER,
        "Volume" => VOLUME,
        "Network" => NETWORK,
        "Image" => IMAGE,
        "Quadlet" => QUADLET,
        "Timer" => TIMER,
        "Pod" => POD,
        "Kube" => KUBE,
        "Build" => BUILD,
        _ => return None,
    })
}

/// The sections that a message may propose.
pub const SECTIONS: [&str; 12] = [
    "Unit",
    "Service",
    "Install",
    "Container",
    "Volume",
    "Network",
    "Image",
    "Quadlet",
    "Timer",
    "Pod",
    "Kube",
    "Build",
];

/// Why files of a kind that Quadlet knows are not units here.
pub fn refused_kind(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "pod" => "pods are not supported; containers on one network find each other by name",
        "kube" => "Kubernetes files are not supported; write a .container for each container",
        "build" => "this host builds no images; build them elsewhere and pull them",
        _ => return None,
    })
}

const QUADLET: Keys = &[("DefaultDependencies", Nothing)];

const UNIT: Keys = &[
    ("Description", Done),
    ("Documentation", Nothing),
    ("After", Done),
    ("Before", Done),
    ("Requires", Done),
    ("Wants", Done),
    ("BindsTo", Done),
    ("PartOf", Done),
    ("Upholds", LATER),
    ("Requisite", Done),
    ("Conflicts", Done),
    ("OnFailure", LATER),
    ("OnSuccess", LATER),
    ("DefaultDependencies", Nothing),
    ("RequiresMountsFor", Nothing),
    ("WantsMountsFor", Nothing),
    ("StartLimitIntervalSec", LATER),
    ("StartLimitBurst", LATER),
    ("StartLimitAction", LATER),
    ("StopWhenUnneeded", LATER),
    ("RefuseManualStart", LATER),
    ("RefuseManualStop", LATER),
    ("JobTimeoutSec", LATER),
    ("PropagatesReloadTo", LATER),
    ("ReloadPropagatedFrom", LATER),
    ("ConditionPathExists", Done),
    ("ConditionPathIsDirectory", Done),
    ("ConditionFileNotEmpty", Done),
    ("ConditionDirectoryNotEmpty", Done),
    ("ConditionHost", LATER),
    ("ConditionKernelCommandLine", LATER),
    ("ConditionVirtualization", LATER),
    ("ConditionArchitecture", LATER),
    ("ConditionFirstBoot", LATER),
    ("AssertPathExists", Done),
    ("SourcePath", Nothing),
];

const SERVICE: Keys = &[
    ("Restart", Done),
    ("RestartSec", Done),
    ("TimeoutStartSec", Done),
    ("TimeoutStopSec", Done),
    ("TimeoutSec", Done),
    ("Type", Done),
    ("RestartSteps", LATER),
    ("RestartMaxDelaySec", LATER),
    ("RemainAfterExit", Done),
    ("SuccessExitStatus", LATER),
    ("RestartPreventExitStatus", LATER),
    ("RestartForceExitStatus", LATER),
    ("RuntimeMaxSec", LATER),
    ("WatchdogSec", LATER),
    ("Environment", LATER),
    ("EnvironmentFile", LATER),
    ("Slice", LATER),
    ("CPUQuota", LATER),
    (
        "MemoryMax",
        Refused("belongs to a systemd service; write Memory= in [Container]"),
    ),
    (
        "TasksMax",
        Refused("belongs to a systemd service; write PidsLimit= in [Container]"),
    ),
    ("Delegate", NO_PODMAN),
    ("KillMode", NO_PODMAN),
    ("NotifyAccess", NO_PODMAN),
    ("SyslogIdentifier", Nothing),
    ("ExecStart", NO_COMMANDS),
    ("ExecStartPre", NO_COMMANDS),
    ("ExecStartPost", NO_COMMANDS),
    ("ExecCondition", NO_COMMANDS),
    ("ExecReload", NO_COMMANDS),
    ("ExecStop", NO_COMMANDS),
    ("ExecStopPost", NO_COMMANDS),
];
const NO_COMMANDS: Support =
    Refused("runs a program of the host, and this host has none; use a container");

const INSTALL: Keys = &[
    ("WantedBy", Done),
    ("RequiredBy", Done),
    ("UpheldBy", LATER),
    ("Alias", LATER),
    ("Also", LATER),
    ("DefaultInstance", Done),
];

const CONTAINER: Keys = &[
    ("Image", Done),
    ("ContainerName", Done),
    ("Exec", Done),
    ("Entrypoint", Done),
    ("Environment", Done),
    ("EnvironmentFile", Done),
    ("PublishPort", Done),
    ("Volume", Done),
    ("Mount", Done),
    ("Tmpfs", Done),
    ("Network", Done),
    ("User", Done),
    ("Group", Done),
    ("GroupAdd", Done),
    ("WorkingDir", Done),
    ("ReadOnly", Done),
    ("ReadOnlyTmpfs", Done),
    ("Label", Done),
    ("Annotation", Done),
    ("AddCapability", Done),
    ("AddDevice", Done),
    ("DropCapability", Done),
    ("NoNewPrivileges", Done),
    ("SeccompProfile", Done),
    ("Mask", Done),
    ("Unmask", Done),
    ("HostName", Done),
    ("DNS", Done),
    ("AddHost", Done),
    ("Ulimit", Done),
    ("Sysctl", Done),
    ("ShmSize", Done),
    ("PidsLimit", Done),
    ("Memory", Done),
    ("StopSignal", Done),
    ("StopTimeout", Done),
    ("Pull", Done),
    ("Timezone", Done),
    ("ServiceName", LATER),
    ("LogDriver", Done),
    ("LogOpt", LATER),
    ("Notify", Done),
    ("HealthCmd", Done),
    ("HealthInterval", Done),
    ("HealthLogDestination", Done),
    ("HealthMaxLogCount", Done),
    ("HealthMaxLogSize", Done),
    ("HealthOnFailure", Done),
    ("HealthRetries", Done),
    ("HealthStartPeriod", Done),
    ("HealthStartupCmd", Done),
    ("HealthStartupInterval", Done),
    ("HealthStartupRetries", Done),
    ("HealthStartupSuccess", Done),
    ("HealthStartupTimeout", Done),
    ("HealthTimeout", Done),
    (
        "RunInit",
        Refused("is not supported: give the image an init of its own"),
    ),
    ("AppArmor", LATER),
    ("AutoUpdate", LATER),
    ("CgroupsMode", NO_PODMAN),
    ("ContainersConfModule", NO_PODMAN),
    ("DNSOption", LATER),
    ("DNSSearch", LATER),
    (
        "EnvironmentHost",
        Refused("has no meaning: the host has no environment to hand on"),
    ),
    // It publishes nothing: what listens in a container is reached on its networks anyway.
    ("ExposeHostPort", Nothing),
    ("GIDMap", NO_USERNS),
    ("GlobalArgs", NO_PODMAN),
    ("HttpProxy", LATER),
    ("IP", Done),
    ("IP6", LATER),
    ("MemorySwap", LATER),
    ("NetworkAlias", Done),
    ("Pod", LATER),
    ("PodmanArgs", NO_PODMAN),
    ("ReloadCmd", LATER),
    ("ReloadSignal", LATER),
    ("RemapGid", NO_USERNS),
    ("RemapUid", NO_USERNS),
    ("RemapUidSize", NO_USERNS),
    ("RemapUsers", NO_USERNS),
    ("Retry", LATER),
    ("RetryDelay", LATER),
    ("Rootfs", LATER),
    ("Secret", Done),
    ("SecurityLabelDisable", NO_SELINUX),
    ("SecurityLabelFileType", NO_SELINUX),
    ("SecurityLabelLevel", NO_SELINUX),
    ("SecurityLabelNested", NO_SELINUX),
    ("SecurityLabelType", NO_SELINUX),
    ("StartWithPod", LATER),
    ("SubGIDMap", NO_USERNS),
    ("SubUIDMap", NO_USERNS),
    ("UIDMap", NO_USERNS),
    ("UserNS", NO_USERNS),
    ("VolatileTmp", LATER),
];

const VOLUME: Keys = &[
    ("VolumeName", Done),
    ("Label", LATER),
    ("Driver", LATER),
    ("Copy", LATER),
    ("Device", LATER),
    ("Type", LATER),
    ("Options", LATER),
    ("User", LATER),
    ("Group", LATER),
    ("UID", LATER),
    ("GID", LATER),
    ("Image", LATER),
    ("ServiceName", LATER),
    ("ContainersConfModule", NO_PODMAN),
    ("GlobalArgs", NO_PODMAN),
    ("PodmanArgs", NO_PODMAN),
];

const TIMER: Keys = &[
    ("OnCalendar", Done),
    ("OnBootSec", Done),
    ("OnStartupSec", Done),
    ("OnActiveSec", Done),
    ("OnUnitActiveSec", Done),
    ("OnUnitInactiveSec", Done),
    ("Unit", Done),
    ("Persistent", Done),
    ("RandomizedDelaySec", Done),
    ("FixedRandomDelay", Done),
    ("AccuracySec", Done),
    ("RemainAfterElapse", LATER),
    ("DeferReactivation", LATER),
    ("OnClockChange", LATER),
    ("OnTimezoneChange", LATER),
    ("RandomizedOffsetSec", LATER),
    (
        "WakeSystem",
        Refused("is not supported: a host is not suspended"),
    ),
];

const NO_PODS: Support =
    Refused("belongs to a pod, and pods are not supported; use a network for several containers");
const NO_KUBE: Support =
    Refused("belongs to Kubernetes files, which are not supported; use .container files");
const NO_BUILD: Support = Refused("belongs to a build, and this host builds no images");

const POD: Keys = &[
    ("AddHost", NO_PODS),
    ("ContainersConfModule", NO_PODMAN),
    ("DNS", NO_PODS),
    ("DNSOption", NO_PODS),
    ("DNSSearch", NO_PODS),
    ("GIDMap", NO_USERNS),
    ("GlobalArgs", NO_PODMAN),
    ("IP", NO_PODS),
    ("IP6", NO_PODS),
    ("Network", NO_PODS),
    ("NetworkAlias", NO_PODS),
    ("PodName", NO_PODS),
    ("PodmanArgs", NO_PODMAN),
    ("PublishPort", NO_PODS),
    ("RemapGid", NO_USERNS),
    ("RemapUid", NO_USERNS),
    ("RemapUidSize", NO_USERNS),
    ("RemapUsers", NO_USERNS),
    ("ServiceName", NO_PODS),
    ("ShmSize", NO_PODS),
    ("SubGIDMap", NO_USERNS),
    ("SubUIDMap", NO_USERNS),
    ("UIDMap", NO_USERNS),
    ("UserNS", NO_USERNS),
    ("Volume", NO_PODS),
];

const KUBE: Keys = &[
    ("AutoUpdate", NO_KUBE),
    ("ConfigMap", NO_KUBE),
    ("ContainersConfModule", NO_PODMAN),
    ("ExitCodePropagation", NO_KUBE),
    ("GlobalArgs", NO_PODMAN),
    ("KubeDownForce", NO_KUBE),
    ("LogDriver", NO_KUBE),
    ("LogOpt", NO_KUBE),
    ("Network", NO_KUBE),
    ("PodmanArgs", NO_PODMAN),
    ("PublishPort", NO_KUBE),
    ("RemapGid", NO_USERNS),
    ("RemapUid", NO_USERNS),
    ("RemapUidSize", NO_USERNS),
    ("RemapUsers", NO_USERNS),
    ("ServiceName", NO_KUBE),
    ("SetWorkingDirectory", NO_KUBE),
    ("UserNS", NO_USERNS),
    ("Yaml", NO_KUBE),
];

const BUILD: Keys = &[
    ("Annotation", NO_BUILD),
    ("Arch", NO_BUILD),
    ("AuthFile", NO_BUILD),
    ("ContainersConfModule", NO_PODMAN),
    ("DNS", NO_BUILD),
    ("DNSOption", NO_BUILD),
    ("DNSSearch", NO_BUILD),
    ("Environment", NO_BUILD),
    ("File", NO_BUILD),
    ("ForceRM", NO_BUILD),
    ("GlobalArgs", NO_PODMAN),
    ("GroupAdd", NO_BUILD),
    ("ImageTag", NO_BUILD),
    ("Label", NO_BUILD),
    ("Network", NO_BUILD),
    ("PodmanArgs", NO_PODMAN),
    ("Pull", NO_BUILD),
    ("Secret", NO_BUILD),
    ("ServiceName", NO_BUILD),
    ("SetWorkingDirectory", NO_BUILD),
    ("TLSVerify", NO_BUILD),
    ("Target", NO_BUILD),
    ("Variant", NO_BUILD),
    ("Volume", NO_BUILD),
];

const NETWORK: Keys = &[
    ("NetworkName", Done),
    ("Label", Done),
    ("Driver", Done),
    ("DNS", LATER),
    ("DisableDNS", Done),
    ("Gateway", Done),
    ("InterfaceName", Done),
    ("Internal", Done),
    ("IPAMDriver", Done),
    ("IPRange", Done),
    ("IPv6", Done),
    ("NetworkDeleteOnStop", LATER),
    ("Options", Done),
    ("Subnet", Done),
    ("ServiceName", LATER),
    ("ContainersConfModule", NO_PODMAN),
    ("GlobalArgs", NO_PODMAN),
    ("PodmanArgs", NO_PODMAN),
];

const IMAGE: Keys = &[
    ("Image", Done),
    ("ImageTag", LATER),
    ("Policy", Done),
    ("AllTags", LATER),
    ("Arch", LATER),
    ("OS", LATER),
    ("Variant", LATER),
    ("AuthFile", LATER),
    ("CertDir", LATER),
    ("Creds", LATER),
    ("DecryptionKey", LATER),
    ("Retry", LATER),
    ("RetryDelay", LATER),
    (
        "TLSVerify",
        Refused("is not read here: write insecure = true in registries.conf"),
    ),
    ("ServiceName", LATER),
    ("ContainersConfModule", NO_PODMAN),
    ("GlobalArgs", NO_PODMAN),
    ("PodmanArgs", NO_PODMAN),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_in_a_section() {
        for section in SECTIONS {
            let mut names: Vec<_> = section_keys(section).unwrap().iter().map(|k| k.0).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{section}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_a_refused_one_its_reason() {
        let unknown = check("Container", "PublshPort").unwrap_err();
        assert_eq!(
            unknown,
            "unknown key 'PublshPort' in [Container], did you mean 'PublishPort'?"
        );
        assert_eq!(
            check("Container", "Pod").unwrap_err(),
            "Pod is not supported yet"
        );
        assert!(
            check("Container", "Zzzz")
                .unwrap_err()
                .ends_with("in [Container]")
        );
        // Nothing keeps a volume's labels: accepted, they would be lost in silence.
        assert!(check("Volume", "Label").is_err());
        assert_eq!(check("Container", "X-Mine"), Ok(Nothing));
    }
}
