//! Tables of bodies as clients send them.

use serde_json::json;

use super::*;

/// What `docker run` of version 26 sends for `docker run --rm -p 8080:80 -v data:/d web true`.
const RUN: &str = include_str!("run.json");

fn made(body: Value) -> Result<ContainerOptions, Refusal> {
    options(Some("web"), body)
}

fn host(config: Value) -> Result<ContainerOptions, Refusal> {
    made(json!({"Image": "web", "HostConfig": config}))
}

#[test]
fn what_docker_run_sends_is_understood() {
    let o = made(serde_json::from_str(RUN).unwrap()).unwrap();
    assert_eq!(o.name.as_deref(), Some("web"));
    assert_eq!(
        (o.image.as_str(), o.command),
        ("web", vec!["true".to_owned()])
    );
    assert!(o.auto_remove && !o.tty && !o.stdin);
    assert_eq!(o.network, NetworkMode::Bridge);
    assert!(o.networks.is_empty());
    let port = PortMapping::parse("8080:80").unwrap();
    assert_eq!(o.ports, port);
    assert_eq!(o.mounts[0].source, MountSource::Volume("data".into()));
    assert_eq!(o.no_new_privileges, Some(false));
    assert_eq!(o.stop_timeout, None);
}

#[test]
fn fields_of_a_host_config_become_options() {
    let o = host(json!({
        "Memory": 67_108_864, "NanoCpus": 1_500_000_000_u64, "PidsLimit": 100,
        "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"], "ReadonlyRootfs": true,
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": -1}],
        "Devices": [{"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/kvm", "CgroupPermissions": "rw"}],
        "Tmpfs": {"/t": "size=1m,noexec"}, "Sysctls": {"net.core.somaxconn": "9"},
        "ExtraHosts": ["db:10.0.0.1", "up:host-gateway"], "Dns": ["9.9.9.9"],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "MaskedPaths": [], "ReadonlyPaths": [], "MemorySwap": -1, "MemoryReservation": 1_048_576,
        "CpuShares": 512, "CpusetCpus": "0-1", "OomScoreAdj": 500,
    }))
    .unwrap();
    assert_eq!(o.memory, Some(64 << 20));
    assert_eq!((o.milli_cpus, o.pids_limit), (Some(1500), Some(100)));
    assert_eq!(
        (o.cap_add, o.cap_drop),
        (vec!["NET_ADMIN".into()], vec!["ALL".into()])
    );
    assert_eq!(
        (o.memory_swap, o.memory_reservation),
        (Some(-1), Some(1 << 20))
    );
    assert_eq!(
        (o.cpu_shares, o.cpuset.as_deref()),
        (Some(512), Some("0-1"))
    );
    assert_eq!(o.oom_score_adj, Some(500));
    assert!(o.read_only);
    assert_eq!(
        (o.no_new_privileges, o.seccomp),
        (Some(true), Seccomp::Unconfined)
    );
    assert_eq!((o.ulimits[0].soft, o.ulimits[0].hard), (10, u64::MAX));
    assert_eq!(o.devices[0].access, "rw");
    assert_eq!(o.tmpfs[0].options, ["size=1m", "noexec"]);
    assert_eq!(o.add_hosts.len(), 2);
    assert_eq!(o.restart, RestartPolicy::OnFailure { max: Some(3) });
    assert_eq!(o.unmask, ["ALL"]);
}

#[test]
fn a_field_that_changes_isolation_and_is_not_done_is_refused_by_its_name() {
    let refused = [
        (json!({"Privileged": true}), "HostConfig.Privileged"),
        (json!({"PidMode": "host"}), "HostConfig.PidMode"),
        (json!({"IpcMode": "host"}), "HostConfig.IpcMode"),
        (json!({"UTSMode": "host"}), "HostConfig.UTSMode"),
        (json!({"UsernsMode": "keep"}), "HostConfig.UsernsMode"),
        (json!({"CgroupnsMode": "host"}), "HostConfig.CgroupnsMode"),
        (json!({"CgroupParent": "/x"}), "HostConfig.CgroupParent"),
        (json!({"SecurityOpt": ["apparmor=mine"]}), "apparmor=mine"),
        (json!({"SecurityOpt": ["seccomp={}"]}), "seccomp"),
        (
            json!({"DeviceRequests": [{"Count": -1}]}),
            "HostConfig.DeviceRequests",
        ),
        (json!({"Runtime": "kata"}), "HostConfig.Runtime"),
        (json!({"CpusetMems": "0"}), "HostConfig.CpusetMems"),
        (json!({"VolumesFrom": ["x"]}), "HostConfig.VolumesFrom"),
        (json!({"NetworkMode": "container:x"}), "network of another"),
        (
            json!({"MaskedPaths": ["/proc/a"]}),
            "HostConfig.MaskedPaths",
        ),
        (
            json!({"LogConfig": {"Type": "syslog"}}),
            "log driver 'syslog'",
        ),
        (json!({"Init": true}), "HostConfig.Init"),
        (json!({"Links": ["a:b"]}), "HostConfig.Links"),
    ];
    for (config, name) in refused {
        let refusal = host(config.clone()).expect_err(&config.to_string());
        assert_eq!(refusal.status, 501, "{config}: {refusal}");
        assert!(refusal.message.contains(name), "{config}: {refusal}");
    }
}

#[test]
fn malformed_fields_are_told_with_their_place() {
    let wrong = [
        (json!({"Binds": ["./a:/b"]}), "HostConfig.Binds"),
        (json!({"Memory": "1g"}), "HostConfig.Memory"),
        (
            json!({"PortBindings": {"x": []}}),
            "HostConfig.PortBindings",
        ),
        (json!({"CapAdd": ["SYS_NOTHING"]}), "HostConfig.CapAdd"),
        (
            json!({"RestartPolicy": {"Name": "often"}}),
            "restart policy",
        ),
        (
            json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}}),
            "AutoRemove",
        ),
    ];
    for (config, name) in wrong {
        let refusal = host(config.clone()).expect_err(&config.to_string());
        assert_eq!(refusal.status, 400, "{config}: {refusal}");
        assert!(refusal.message.contains(name), "{config}: {refusal}");
    }
}

#[test]
fn networks_are_joined_in_the_order_of_the_mode_and_with_their_aliases() {
    let o = made(json!({
        "Image": "web",
        "HostConfig": {"NetworkMode": "back"},
        "NetworkingConfig": {"EndpointsConfig": {
            "apart": {},
            "back": {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.89.0.9"}},
        }},
    }))
    .unwrap();
    let names: Vec<&str> = o.networks.iter().map(|j| j.network.as_str()).collect();
    assert_eq!(names, ["back", "apart"]);
    assert_eq!(o.networks[0].aliases, ["db"]);
    assert_eq!(o.networks[0].ip, Some(Ipv4Addr::new(10, 89, 0, 9)));
    let o = host(json!({"NetworkMode": "host"})).unwrap();
    assert_eq!(o.network, NetworkMode::Host);
}
