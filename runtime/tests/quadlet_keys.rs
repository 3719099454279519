//! docs/QUADLET.md says what becomes of every key, and podman 5.4 has none that it does not name.
//!
//! The tables in it are made from the code: what this test prints when it fails can be pasted.

use runtime::unit::keys::{SECTIONS, Support, section_keys};

/// The keys of podman 5.4, by section (podman-systemd.unit(5)).
const PODMAN: [(&str, &str); 7] = [
    (
        "Container",
        "AddCapability AddDevice AddHost Annotation AutoUpdate CgroupsMode ContainerName \
         ContainersConfModule DNS DNSOption DNSSearch DropCapability Entrypoint Environment \
         EnvironmentFile EnvironmentHost Exec ExposeHostPort GIDMap GlobalArgs Group GroupAdd \
         HealthCmd HealthInterval HealthLogDestination HealthMaxLogCount HealthMaxLogSize \
         HealthOnFailure HealthRetries HealthStartPeriod HealthStartupCmd HealthStartupInterval \
         HealthStartupRetries HealthStartupSuccess HealthStartupTimeout HealthTimeout HostName \
         IP IP6 Image Label LogDriver LogOpt Mask Mount Network NetworkAlias NoNewPrivileges \
         Notify PidsLimit Pod PodmanArgs PublishPort Pull ReadOnly ReadOnlyTmpfs RemapGid \
         RemapUid RemapUidSize RemapUsers Rootfs RunInit SeccompProfile Secret \
         SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested \
         SecurityLabelType ServiceName ShmSize StartWithPod StopSignal StopTimeout SubGIDMap \
         SubUIDMap Sysctl Timezone Tmpfs UIDMap Ulimit Unmask User UserNS VolatileTmp Volume \
         WorkingDir",
    ),
    (
        "Pod",
        "AddHost ContainersConfModule DNS DNSOption DNSSearch GIDMap GlobalArgs IP IP6 Network \
         NetworkAlias PodName PodmanArgs PublishPort RemapGid RemapUid RemapUidSize RemapUsers \
         ServiceName ShmSize SubGIDMap SubUIDMap UIDMap UserNS Volume",
    ),
    (
        "Kube",
        "AutoUpdate ConfigMap ContainersConfModule ExitCodePropagation GlobalArgs KubeDownForce \
         LogDriver LogOpt Network PodmanArgs PublishPort RemapGid RemapUid RemapUidSize \
         RemapUsers ServiceName SetWorkingDirectory UserNS Yaml",
    ),
    (
        "Network",
        "ContainersConfModule DNS DisableDNS Driver Gateway GlobalArgs IPAMDriver IPRange IPv6 \
         Internal Label NetworkName Options PodmanArgs ServiceName Subnet",
    ),
    (
        "Volume",
        "ContainersConfModule Copy Device Driver GlobalArgs Group Image Label Options \
         PodmanArgs ServiceName Type User VolumeName",
    ),
    (
        "Build",
        "Annotation Arch AuthFile ContainersConfModule DNS DNSOption DNSSearch Environment File \
         ForceRM GlobalArgs GroupAdd ImageTag Label Network PodmanArgs Pull Secret ServiceName \
         SetWorkingDirectory TLSVerify Target Variant Volume",
    ),
    (
        "Image",
        "AllTags Arch AuthFile CertDir ContainersConfModule Creds DecryptionKey GlobalArgs \
         Image ImageTag OS PodmanArgs ServiceName TLSVerify Variant",
    ),
];

fn table(section: &str) -> String {
    let keys = section_keys(section).unwrap();
    let mut rows: Vec<String> = keys
        .iter()
        .map(|(key, support)| match support {
            Support::Done => format!("| `{key}` | done |"),
            Support::Nothing => format!("| `{key}` | accepted, nothing to do |"),
            Support::Refused(reason) => format!("| `{key}` | refused: {reason} |"),
        })
        .collect();
    rows.sort();
    format!(
        "### [{section}]\n\n| key | here |\n|---|---|\n{}\n",
        rows.join("\n")
    )
}

#[test]
fn the_docs_name_every_key_with_what_becomes_of_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/QUADLET.md");
    let docs = std::fs::read_to_string(path).unwrap();
    let missing: Vec<String> = SECTIONS
        .iter()
        .map(|section| table(section))
        .filter(|table| !docs.contains(table.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "paste into docs/QUADLET.md:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_key_of_podman_is_known() {
    for (section, keys) in PODMAN {
        let known = section_keys(section).unwrap();
        for key in keys.split_whitespace() {
            let found = known.iter().any(|(name, _)| *name == key);
            assert!(found, "[{section}] {key}");
        }
    }
}
